import type { JobFailure, JobStatus, WaitFacts } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { findOwners } from './held-tasks.js';
import { readHolders, readRoom, type TypeLimits } from './type-limits.js';

/** Tasks that are counted before one, at most: an explanation may say less than there are, and must not cost more. */
const MOST_AHEAD = 100_000;
/** Of one other owner; one that has more has as many as turns are looked at. */
const MOST_OF_OTHERS = 1000;
/** Tasks of a job that are looked at for one that waits. */
const LAST_TASKS = 5000;
/** Other owners whose turns are counted. */
const MOST_OWNERS = 200;

/** What the rows tell; Redis and the limits in the code are added to it. */
type Rows = Omit<WaitFacts, 'redisIsAway' | 'sent'>;

interface JobRow {
  status: JobStatus;
  type: string;
  queue: string;
  runAt: Date | null;
  payloadVersion: number;
  rank: number;
}

interface WaitingRow {
  id: string;
  held: boolean;
  retryAt: Date | null;
  attempt: number;
  error: JobFailure | null;
}

/** What holds a job of an owner, by the rows. Undefined when the owner has no such job. */
export async function readWaitFacts(
  sql: Sql,
  ownerId: string,
  jobId: string,
  limits: ReadonlyMap<string, TypeLimits>,
  options: { perOwner: number | undefined; leaseMs: number },
): Promise<Rows | undefined> {
  const [job] = await sql.$queryRaw<JobRow[]>`
    SELECT status, type, payload_version AS "payloadVersion", queue, run_at AS "runAt", rank FROM jobs WHERE id = ${jobId}::uuid AND owner_id = ${ownerId}`;
  if (!job) return undefined;
  const { status, type, payloadVersion, queue, runAt } = job;
  const waiting = await readWaiting(sql, { ...job, ownerId, jobId });
  const [queueFacts] = await sql.$queryRaw<{ slots: number; typeIsKnown: boolean; perSecond: number }[]>`
    SELECT COALESCE(sum(w.slots), 0)::int AS slots, COALESCE(bool_or((w.types->>${type})::int >= ${payloadVersion}), false) AS "typeIsKnown",
      COALESCE((SELECT rate FROM queues WHERE name = ${queue}), 0) AS "perSecond"
    FROM workers w
    WHERE w.stopped_at IS NULL AND ${queue} = ANY(w.queues)
      AND w.seen_at > clock_timestamp() - make_interval(secs => ${(2 * options.leaseMs) / 1000}::float8)`;
  const own = limits.get(type);
  return {
    status,
    type,
    queue,
    runAt,
    waiting,
    pauses: await sql.$queryRaw`
      SELECT kind, reason, until FROM pauses
      WHERE (kind, name) IN (('type', ${type}), ('tag', ${queue})) AND (until IS NULL OR until > clock_timestamp())`,
    ...(queueFacts ?? { slots: 0, typeIsKnown: false, perSecond: 0 }),
    holder: own?.oneByOne ? await readHolder(sql, type, ownerId, jobId) : null,
    concurrency:
      own?.concurrency === undefined
        ? null
        : { limit: own.concurrency, used: await countAdmitted(sql, Prisma.sql`type = ${type}`) },
    owner:
      options.perOwner === undefined
        ? null
        : { limit: options.perOwner, used: await countAdmitted(sql, Prisma.sql`owner_id = ${ownerId}`) },
    rate: own?.rate ? { max: own.rate.max, ...(await readStarts(sql, type, own.rate.perMs)) } : null,
    ahead: waiting?.held
      ? await countAhead(
          sql,
          { ...job, ownerId, jobId, taskId: waiting.id },
          await openTypes(sql, limits, type),
        )
      : 0,
    finalization: status === 'finalizing' ? await readFinalization(sql, jobId) : null,
  };
}

/**
 * The first of a job's tasks that wait: the next one to be admitted, or else one of the last that the job has, for the
 * earlier ones have begun before them. A job may have a million tasks, and most of them run or have ended.
 */
async function readWaiting(
  sql: Sql,
  job: JobRow & { ownerId: string; jobId: string },
): Promise<WaitingRow | null> {
  const { ownerId, jobId, queue, type, rank } = job;
  const [held] = await sql.$queryRaw<WaitingRow[]>`
    SELECT id::text AS id, true AS held, NULL::timestamptz AS "retryAt", 0 AS attempt, NULL::jsonb AS error
    FROM dispatch
    WHERE gate = 'held' AND queue = ${queue} AND owner_id = ${ownerId} AND type = ${type}
      AND rank = ${rank}::float8 AND job_id = ${jobId}::uuid
    ORDER BY id LIMIT 1`;
  if (held) return held;
  const [row] = await sql.$queryRaw<WaitingRow[]>`
    SELECT t.id::text AS id, d.gate IS NOT DISTINCT FROM 'held' AS held, t.attempt::int AS attempt, o.error,
      CASE WHEN t.status = 'retrying' AND d.incarnation = '' AND d.look_again_at < 'infinity' THEN d.look_again_at END AS "retryAt"
    FROM (
      SELECT task_id, position FROM task_inputs WHERE job_id = ${jobId}::uuid ORDER BY position DESC LIMIT ${LAST_TASKS}
    ) i JOIN tasks t ON t.id = i.task_id JOIN dispatch d ON d.id = t.id AND d.kind = t.kind
      LEFT JOIN task_outputs o ON o.task_id = t.id
    WHERE t.finished_at IS NULL AND t.status <> 'active'
    ORDER BY t.status = 'retrying', i.position LIMIT 1`;
  return row ?? null;
}

async function readHolder(sql: Sql, type: string, ownerId: string, jobId: string) {
  const [holder] = await sql.$queryRaw<{ jobId: string | null }[]>`
    SELECT CASE WHEN j.owner_id = ${ownerId} THEN j.id::text END AS "jobId"
    FROM type_holders h JOIN jobs j ON j.id = h.job_id AND j.generation = h.generation
    WHERE h.type = ${type} AND j.finished_at IS NULL AND j.id <> ${jobId}::uuid`;
  return holder ?? null;
}

async function countAdmitted(sql: Sql, where: Prisma.Sql): Promise<number> {
  const [row] = await sql.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS count FROM dispatch WHERE gate = 'admitted' AND ${where}`;
  return row?.count ?? 0;
}

async function readStarts(
  sql: Sql,
  type: string,
  perMs: number,
): Promise<{ used: number; freeAt: Date | null }> {
  const seconds = perMs / 1000;
  const [row] = await sql.$queryRaw<{ used: number; freeAt: Date | null }[]>`
    SELECT COALESCE(sum(count), 0)::int AS used, min(at) + make_interval(secs => ${seconds}::float8) AS "freeAt"
    FROM type_starts WHERE type = ${type} AND at > clock_timestamp() - make_interval(secs => ${seconds}::float8)`;
  return row ?? { used: 0, freeAt: null };
}

/** The types that are not held back as a whole, and the one that is asked about. */
async function openTypes(
  sql: Sql,
  limits: ReadonlyMap<string, TypeLimits>,
  asked: string,
): Promise<string[]> {
  const { types } = await readRoom(sql, limits, undefined);
  const holders = await readHolders(sql, limits);
  const open = [...limits.keys()].filter((type) => (types.get(type) ?? 1) > 0 && !holders.has(type));
  return [...new Set([...open, asked])];
}

/**
 * Tasks that are admitted before one: its owner's with a smaller rank, and of every other owner as many as it has, but
 * no more than turns until then. Those of types that are held back have no turn.
 */
async function countAhead(
  sql: Sql,
  of: { queue: string; ownerId: string; jobId: string; taskId: string; rank: number },
  types: string[],
): Promise<number> {
  const [own] = await sql.$queryRaw<{ count: number }[]>`
    SELECT COALESCE(sum(n.count), 0)::int AS count FROM unnest(${types}::text[]) AS k(name) CROSS JOIN LATERAL (
      SELECT count(*)::int AS count FROM (
        SELECT FROM dispatch WHERE gate = 'held' AND queue = ${of.queue} AND owner_id = ${of.ownerId} AND type = k.name
          AND (rank, job_id, id) < (${of.rank}::float8, ${of.jobId}::uuid, ${of.taskId}::uuid) LIMIT ${MOST_AHEAD}
      ) before
    ) n`;
  const before = Math.min(MOST_AHEAD, own?.count ?? 0);
  const owners = (await findOwners(sql, of.queue, of.ownerId, MOST_OWNERS)).filter((id) => id !== of.ownerId);
  const most = Math.min(before + 1, MOST_OF_OTHERS);
  const others = await sql.$queryRaw<{ count: number }[]>`
    SELECT LEAST(sum(n.count), ${most})::int AS count
    FROM unnest(${owners}::text[]) AS o(id) CROSS JOIN unnest(${types}::text[]) AS k(name) CROSS JOIN LATERAL (
      SELECT count(*)::int AS count FROM (
        SELECT FROM dispatch WHERE gate = 'held' AND queue = ${of.queue} AND owner_id = o.id AND type = k.name LIMIT ${most}
      ) held
    ) n GROUP BY o.id`;
  const turns = others.map(({ count }) => (count === MOST_OF_OTHERS ? before + 1 : count));
  return Math.min(MOST_AHEAD, before + turns.reduce((sum, count) => sum + count, 0));
}

async function readFinalization(sql: Sql, jobId: string): Promise<WaitFacts['finalization']> {
  const [row] = await sql.$queryRaw<NonNullable<WaitFacts['finalization']>[]>`
    SELECT d.look_again_at AS "nextAt", COALESCE(c.attempts, 0)::int AS calls, c.last_error AS "lastError",
      (SELECT value::timestamptz FROM settings WHERE key = 'catalog-circuit-until') AS "circuitUntil"
    FROM dispatch d JOIN jobs j ON j.id = d.job_id
      LEFT JOIN catalog_calls c ON c.job_id = j.id AND c.generation = j.generation
    WHERE d.id = ${jobId}::uuid AND d.kind = 'finalize'`;
  return row ?? null;
}
