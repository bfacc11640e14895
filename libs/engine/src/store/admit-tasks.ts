import { nextWindow } from '@app/core';
import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { FIRST_LOOK_MS } from './accept-jobs.js';
import type { Delivery } from './dispatch.js';
import { takeTurn, type Turn } from './admission-turn.js';
import { openGates } from './held-tasks.js';
import { inTransaction } from './in-transaction.js';
import { noteStarts, readHolders, readRoom, type TypeLimits } from './type-limits.js';

/** A process that freezes while it admits must not keep the others from it for long. */
const LONGEST_PASS_MS = 3000;
/** Over how long the rate of a queue is averaged. */
const RATE_MS = 10_000;

/** How long nobody else admits after a pass: longer than its messages are on their way to Redis, where they are counted. */
const LEAD_MS = 1000;

/** What a pass needs to know beside the rows. */
export interface AdmissionOptions {
  /** Who admits. */
  by: string;
  /** Messages that wait in Redis, by queue: the queues that are looked at. */
  waiting: ReadonlyMap<string, number>;
  /** The types that this process knows; tasks of others are left to others. */
  limits: ReadonlyMap<string, TypeLimits>;
  /** Tasks that one owner may have admitted at a time. */
  perOwner: number | undefined;
  leaseMs: number;
  /** The Redis that admitted tasks will be sent to. */
  incarnation: string;
}

/** A queue as the last pass left it, and whether anything waits to be admitted to it now. */
export interface QueueState {
  name: string;
  window: number;
  /** Of the workers that are alive now. */
  slots: number;
  backlogged: boolean;
  lastOwner: string;
  /** Tasks admitted a second. */
  rate: number;
  /** Milliseconds since the last pass. */
  ageMs: number;
  held: boolean;
  paused: boolean;
}

/** What a pass has admitted, to be sent. */
export interface Admission {
  admitted: Delivery[];
  /** Whether another pass may admit more at once. */
  more: boolean;
  /** Whether tasks wait for room in a queue. */
  backlogged: boolean;
}

/** The queues as they are. */
export async function lookAtQueues(sql: Sql, names: string[], leaseMs: number): Promise<QueueState[]> {
  return sql.$queryRaw<QueueState[]>`
    SELECT n.name, COALESCE(q."window", 0) AS "window", COALESCE(q.backlogged, false) AS backlogged,
      COALESCE(q.last_owner, '') AS "lastOwner", COALESCE(q.rate, 0) AS rate,
      COALESCE(extract(epoch FROM clock_timestamp() - q.looked_at) * 1000, 'infinity')::float8 AS "ageMs",
      (SELECT COALESCE(sum(w.slots), 0)::int FROM workers w
        WHERE w.stopped_at IS NULL AND n.name = ANY(w.queues)
          AND w.seen_at > clock_timestamp() - make_interval(secs => ${(2 * leaseMs) / 1000}::float8)) AS slots,
      -- Not EXISTS: for that Postgres may gather the queues of all held tasks first.
      (SELECT true FROM dispatch d WHERE d.gate = 'held' AND d.queue = n.name LIMIT 1) IS NOT NULL AS held,
      EXISTS (SELECT FROM pauses p WHERE p.kind = 'tag' AND p.name = n.name
        AND (p.until IS NULL OR p.until > clock_timestamp())) AS paused
    FROM unnest(${names}::text[]) AS n(name) LEFT JOIN queues q ON q.name = n.name`;
}

/** Whether somebody else admits now, and whether workers are alive that know other types or queues than one does. */
export async function lookAtLeader(
  sql: Sql,
  by: string,
  leaseMs: number,
): Promise<{ led: boolean; unlike: boolean }> {
  const [row] = await sql.$queryRaw<{ led: boolean; unlike: boolean }[]>`
    SELECT a.leader <> ${by} AND a.until > clock_timestamp() AS led, EXISTS (
        SELECT FROM workers w, workers me
        WHERE me.id::text = ${by} AND w.stopped_at IS NULL AND (w.types, w.queues) IS DISTINCT FROM (me.types, me.queues)
          AND w.seen_at > clock_timestamp() - make_interval(secs => ${(2 * leaseMs) / 1000}::float8)
      ) AS unlike
    FROM admission a`;
  return row ?? { led: false, unlike: false };
}

/** Becomes, or stays, the one who admits; false when another one is. */
async function lead(sql: Sql, by: string): Promise<boolean> {
  const [row] = await sql.$queryRaw<{ free: boolean }[]>`
    SELECT leader = ${by} OR until <= clock_timestamp() AS free FROM admission FOR UPDATE SKIP LOCKED`;
  if (!row?.free) return false;
  await sql.$executeRaw`
    UPDATE admission SET leader = ${by},
      until = clock_timestamp() + make_interval(secs => ${LEAD_MS / 1000}::float8)`;
  return true;
}

/** Lets another one admit. */
export async function stepDown(sql: Sql, by: string): Promise<void> {
  await sql.$executeRaw`UPDATE admission SET until = clock_timestamp() WHERE leader = ${by}`;
}

/**
 * Admits held tasks to their queues: as many as the windows and the limits leave room for, in fair turns. One process
 * at a time; undefined when another one does. What is admitted counts as sent when this has committed: what is
 * then not sent is found by the sweeper.
 */
export function admitTasks(client: PrismaClient, options: AdmissionOptions): Promise<Admission | undefined> {
  return inTransaction(
    client,
    async (sql) => {
      if (!(await lead(sql, options.by))) return undefined;
      const queues = await lookAtQueues(sql, [...options.waiting.keys()], options.leaseMs);
      const limits = await readRoom(sql, options.limits, options.perOwner);
      const holders = await readHolders(sql, options.limits);
      const pass: Admission = { admitted: [], more: false, backlogged: false };
      const counts = new Map<string, number>();
      for (const queue of queues) {
        const waiting = options.waiting.get(queue.name) ?? 0;
        const window = nextWindow(queue.window, { ...queue, waiting });
        const room = { ...limits, total: queue.paused ? 0 : window - waiting };
        const turn = await takeTurn(sql, queue, room, options.limits, holders);
        const admitted = await openGates(sql, turn.tasks, options.incarnation, FIRST_LOOK_MS);
        for (const { type, ownerId } of turn.tasks) {
          counts.set(type, (counts.get(type) ?? 0) + 1);
          lessen(limits.types, type, limits.types.get(type));
          lessen(limits.owners, ownerId, limits.owners.get(ownerId) ?? options.perOwner);
        }
        pass.admitted.push(...admitted);
        pass.more ||= turn.more;
        pass.backlogged ||= turn.backlogged;
        await noteQueue(sql, queue, window, turn);
      }
      await noteStarts(sql, options.limits, counts);
      return pass;
    },
    { maxWait: LONGEST_PASS_MS, timeout: LONGEST_PASS_MS },
  );
}

function lessen(room: Map<string, number>, key: string, left: number | undefined): void {
  if (left !== undefined) room.set(key, left - 1);
}

async function noteQueue(sql: Sql, queue: QueueState, window: number, turn: Turn): Promise<void> {
  // While anything waits, what is admitted is what the workers have taken since the last look.
  const weight = 1 - Math.exp(-queue.ageMs / RATE_MS);
  const now = (turn.tasks.length * 1000) / Math.max(queue.ageMs, 1);
  const rate = queue.held ? queue.rate + weight * (now - queue.rate) : queue.rate;
  await sql.$executeRaw`
    INSERT INTO queues (name, "window", slots, backlogged, last_owner, rate)
    VALUES (${queue.name}, ${window}, ${queue.slots}, ${turn.backlogged}, ${turn.lastOwner ?? queue.lastOwner}, ${rate})
    ON CONFLICT (name) DO UPDATE SET "window" = EXCLUDED."window", slots = EXCLUDED.slots,
      backlogged = EXCLUDED.backlogged, last_owner = EXCLUDED.last_owner, rate = EXCLUDED.rate,
      looked_at = clock_timestamp()`;
}
