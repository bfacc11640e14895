import type { TaskStatus } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';

/** The queue of tasks that any worker may run. The others are called as the tag that a worker must hold. */
export const DEFAULT_QUEUE = 'default';

/** What is sent to a queue: the epoch makes a new message of a task that was handed back or lost. */
export interface Delivery {
  taskId: string;
  kind: 'task' | 'plan';
  queue: string;
  epoch: number;
  /** Set by the sweeper: the row is only moved if nobody, such as a claim, has moved it since. */
  mark?: string;
}

/** Milliseconds after which a message that was sent, and led to no claim, is sent again under the same id. */
const RESEND_MS = 60_000;
/** How long a row is left to the sweeper that took it. */
const SWEEP_LEASE_MS = 5000;

/** How far a look for due work reads back. */
export const LOOK_BACK_MS = {
  /** Enough, as long as somebody sweeps. */
  short: 60_000,
  /**
   * Finds what has waited longer. Rows that were moved on leave their old entries in the index as long as any
   * transaction in the database is open; a look at everything then reads through all of them.
   */
  all: 10 * 365 * 86_400_000,
};

/** A unit of work whose time has come. */
export interface DueTask extends Delivery {
  jobId: string;
  type: string;
  generation: number;
  status: TaskStatus;
  fence: number;
  attempt: number;
  maxAttempts: number;
  resumable: boolean;
  leaseEnded: boolean;
  /** Whether it waits to be admitted from now on; it was not sent, or to another life of Redis. */
  held: boolean;
  /** Whether its worker has stopped, is unknown, or has not beaten for a lease. */
  workerDead: boolean;
}

/**
 * Takes the tasks and plans whose time has come, by moving the time on: whoever else sweeps passes them by. Commits
 * before anything is sent. What was not sent before is held until it is admitted, in its turn. An attempt whose lease still runs is looked at again when it ends; a lease that ended while
 * Postgres itself was down, or just after, is given one more: its worker could not renew it.
 */
export async function takeDueTasks(
  sql: Sql,
  limit: number,
  leaseMs: number,
  backMs = LOOK_BACK_MS.all,
): Promise<DueTask[]> {
  return sql.$queryRaw<DueTask[]>`
    WITH due AS MATERIALIZED (
      SELECT id, kind, job_id, incarnation FROM dispatch
      WHERE look_again_at <= statement_timestamp() AND kind IN ('task', 'plan')
        AND look_again_at > statement_timestamp() - make_interval(secs => ${backMs / 1000}::float8)
      ORDER BY look_again_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), state AS MATERIALIZED (
      SELECT d.id, d.kind, t.status, t.fence, t.attempt, t.worker, u.lease_until,
        t.status = 'active' AND u.lease_until > clock_timestamp() AS leased,
        t.status <> 'active' AND d.incarnation = '' AS held, j.owner_id, j.type, j.rank, j.generation, j.max_attempts, j.resumable
      FROM due d JOIN tasks t ON t.id = d.id JOIN jobs j ON j.id = d.job_id CROSS JOIN LATERAL (
        SELECT GREATEST(t.lease_until, pg_postmaster_start_time() + make_interval(secs => ${leaseMs / 1000}::float8)) AS lease_until
      ) u
    ), moved AS (
      UPDATE dispatch d SET look_again_at = CASE WHEN s.leased THEN s.lease_until WHEN s.held THEN 'infinity'
          ELSE clock_timestamp() + make_interval(secs => ${SWEEP_LEASE_MS / 1000}::float8) END,
        gate = CASE WHEN s.held THEN 'held' ELSE d.gate END,
        owner_id = CASE WHEN s.held THEN s.owner_id ELSE d.owner_id END,
        type = CASE WHEN s.held THEN s.type ELSE d.type END, rank = CASE WHEN s.held THEN s.rank ELSE d.rank END
      FROM state s WHERE d.id = s.id AND d.kind = s.kind
      RETURNING d.id, d.kind, d.job_id, d.queue, d.epoch, d.look_again_at
    )
    SELECT m.id::text AS "taskId", m.kind, m.queue, m.epoch, m.look_again_at::text AS mark, m.job_id::text AS "jobId", s.type, s.generation, s.status, s.fence,
      s.attempt, s.max_attempts AS "maxAttempts", s.resumable,
      s.status = 'active' AS "leaseEnded", s.held,
      s.status = 'active' AND NOT EXISTS (
        SELECT FROM workers w WHERE w.id = s.worker AND w.stopped_at IS NULL
          AND w.seen_at > clock_timestamp() - make_interval(secs => ${leaseMs / 1000}::float8)
      ) AS "workerDead"
    FROM moved m JOIN state s ON s.id = m.id AND s.kind = m.kind
    WHERE NOT s.leased`;
}

/** Notes which messages reached which life of Redis. A row that has moved on since is left alone. */
export async function noteSent(sql: Sql, sent: Delivery[], incarnation: string): Promise<void> {
  await moveLook(sql, sent, RESEND_MS, incarnation);
}

/** Lets units of work be looked at again soon, as after a send that failed. Answers how many rows had not moved on. */
export function lookAgain(sql: Sql, deliveries: Delivery[], afterMs: number): Promise<number> {
  return moveLook(sql, deliveries, afterMs, '');
}

async function moveLook(
  sql: Sql,
  deliveries: Delivery[],
  afterMs: number,
  incarnation: string,
): Promise<number> {
  const ids = deliveries.map((delivery) => delivery.taskId);
  const kinds = deliveries.map((delivery) => delivery.kind);
  const epochs = deliveries.map((delivery) => delivery.epoch);
  const marks = deliveries.map((delivery) => delivery.mark ?? null);
  return sql.$executeRaw`
    UPDATE dispatch d SET incarnation = ${incarnation},
      look_again_at = clock_timestamp() + make_interval(secs => ${afterMs / 1000}::float8)
    FROM (
      SELECT d.id, d.kind
      FROM unnest(${ids}::uuid[], ${kinds}::text[], ${epochs}::int[], ${marks}::timestamptz[]) AS m(id, kind, epoch, mark)
      JOIN dispatch d ON d.id = m.id AND d.kind = m.kind AND d.epoch = m.epoch
        AND (m.mark IS NULL OR d.look_again_at = m.mark) AND d.gate IS DISTINCT FROM 'held'
      ORDER BY d.id FOR UPDATE OF d SKIP LOCKED
    ) l
    WHERE d.id = l.id AND d.kind = l.kind`;
}

/**
 * Makes everything due that was sent to another life of Redis; the same message ids are sent again. What runs needs no
 * message. A page at a time, for claims wait for the rows of a page.
 */
export async function recallLost(sql: Sql, incarnation: string, page = 1000): Promise<number> {
  let recalled = 0;
  for (let after = '00000000-0000-0000-0000-000000000000'; ;) {
    const rows = await sql.$queryRaw<{ id: string; due: boolean }[]>`
      WITH m AS MATERIALIZED (
        SELECT d.id, d.kind FROM dispatch d
        WHERE d.id > ${after}::uuid AND d.kind IN ('task', 'plan') AND d.incarnation NOT IN ('', ${incarnation})
        ORDER BY d.id LIMIT ${page} FOR UPDATE SKIP LOCKED
      ), u AS (
        UPDATE dispatch d SET look_again_at = clock_timestamp(), incarnation = ''
        FROM m JOIN tasks t ON t.id = m.id
        WHERE d.id = m.id AND d.kind = m.kind AND t.status <> 'active'
        RETURNING d.id
      )
      SELECT m.id::text AS id, m.id IN (SELECT id FROM u) AS due FROM m ORDER BY m.id`;
    recalled += rows.filter((row) => row.due).length;
    const last = rows.at(-1);
    if (!last || rows.length < page) return recalled;
    after = last.id;
  }
}
