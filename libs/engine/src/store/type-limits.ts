import type { Room } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';

/** What a type allows over all workers. */
export interface TypeLimits {
  /** Tasks that may be admitted at a time. */
  concurrency: number | undefined;
  /** Tasks that may be admitted within any stretch of `perMs`. */
  rate: { max: number; perMs: number } | undefined;
  /** Whether its jobs run one after another. */
  oneByOne: boolean;
}

/** The job that a type runs now, while others of it wait. */
export interface Holder {
  type: string;
  jobId: string;
  ownerId: string;
}

/**
 * How many more tasks the limits let in. Admitted tasks are counted by their dispatch rows, which the end, the return
 * or the expiry of an attempt changes in its own transaction: nothing can be forgotten to be given back.
 */
export async function readRoom(
  sql: Sql,
  limits: ReadonlyMap<string, TypeLimits>,
  perOwner: number | undefined,
): Promise<Omit<Room, 'total'> & { types: Map<string, number>; owners: Map<string, number> }> {
  const types = new Map<string, number>();
  const owners = new Map<string, number>();
  const least = (type: string, room: number) => types.set(type, Math.min(types.get(type) ?? room, room));
  const known = [...limits];
  const admitted = await sql.$queryRaw<{ type: string; ownerId: string; count: number }[]>`
    SELECT type, owner_id AS "ownerId", count(*)::int AS count FROM dispatch WHERE gate = 'admitted' GROUP BY type, owner_id`;
  for (const [type, { concurrency }] of known) if (concurrency !== undefined) types.set(type, concurrency);
  for (const { type, ownerId, count } of [...admitted, ...(await countStopping(sql))]) {
    const room = types.get(type);
    if (room !== undefined) types.set(type, room - count);
    if (perOwner !== undefined) owners.set(ownerId, (owners.get(ownerId) ?? perOwner) - count);
  }
  const rates = known.flatMap(([type, { rate }]) => (rate ? [{ type, ...rate }] : []));
  for (const { type, room } of await readRates(sql, rates)) least(type, room);
  const paused = await sql.$queryRaw<{ name: string }[]>`
    SELECT name FROM pauses WHERE kind = 'type' AND (until IS NULL OR until > clock_timestamp())`;
  for (const { name } of paused) types.set(name, 0);
  return { types, owners, perOwner };
}

/** How long a handler that was asked to stop keeps its place, if nobody tells that it has stopped. */
const STOP_MS = 60_000;

/** Attempts that were asked to stop when their job ended, and may still run. */
async function countStopping(sql: Sql): Promise<{ type: string; ownerId: string; count: number }[]> {
  return sql.$queryRaw`
    SELECT j.type, j.owner_id AS "ownerId", count(*)::int AS count
    FROM cancel_stops s JOIN jobs j ON j.id = s.job_id AND j.generation = s.generation
    WHERE s.stopped_at IS NULL AND s.fenced_at IS NULL
      AND j.finished_at > clock_timestamp() - make_interval(secs => ${STOP_MS / 1000}::float8)
    GROUP BY j.type, j.owner_id`;
}

async function readRates(sql: Sql, rates: { type: string; max: number; perMs: number }[]) {
  if (rates.length === 0) return [];
  const types = rates.map(({ type }) => type);
  const seconds = rates.map(({ perMs }) => perMs / 1000);
  const starts = await sql.$queryRaw<{ type: string; count: number }[]>`
    SELECT s.type, sum(s.count)::int AS count
    FROM unnest(${types}::text[], ${seconds}::float8[]) AS r(type, seconds)
      JOIN type_starts s ON s.type = r.type AND s.at > clock_timestamp() - make_interval(secs => r.seconds)
    GROUP BY s.type`;
  const used = new Map(starts.map(({ type, count }) => [type, count]));
  return rates.map(({ type, max }) => ({ type, room: max - (used.get(type) ?? 0) }));
}

/** Counts what was admitted of types with a rate limit, and forgets what counts no more. */
export async function noteStarts(
  sql: Sql,
  limits: ReadonlyMap<string, TypeLimits>,
  admitted: ReadonlyMap<string, number>,
): Promise<void> {
  const rows = [...admitted].flatMap(([type, count]) => {
    const rate = limits.get(type)?.rate;
    return rate ? [{ type, count, seconds: rate.perMs / 1000 }] : [];
  });
  if (rows.length === 0) return;
  await sql.$executeRaw`
    WITH r AS MATERIALIZED (
      SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(type text, count int, seconds float8)
    ), gone AS (
      DELETE FROM type_starts s USING r
      WHERE s.type = r.type AND s.at <= clock_timestamp() - make_interval(secs => r.seconds)
    )
    INSERT INTO type_starts (type, at, count) SELECT type, clock_timestamp(), count FROM r`;
}

/**
 * The jobs that hold types whose jobs run one after another. A job that has ended holds its type as long as a handler of
 * it may still run.
 */
export async function readHolders(
  sql: Sql,
  limits: ReadonlyMap<string, TypeLimits>,
): Promise<Map<string, Holder>> {
  const types = [...limits].flatMap(([type, { oneByOne }]) => (oneByOne ? [type] : []));
  if (types.length === 0) return new Map();
  const holders = await sql.$queryRaw<Holder[]>`
    SELECT h.type, h.job_id::text AS "jobId", j.owner_id AS "ownerId"
    FROM type_holders h JOIN jobs j ON j.id = h.job_id
    WHERE h.type = ANY(${types}::text[]) AND j.generation = h.generation AND (j.finished_at IS NULL OR (
      j.finished_at > clock_timestamp() - make_interval(secs => ${STOP_MS / 1000}::float8) AND EXISTS (
        SELECT FROM cancel_stops s
        WHERE s.job_id = j.id AND s.generation = j.generation AND s.stopped_at IS NULL AND s.fenced_at IS NULL
      )))`;
  return new Map(holders.map((holder) => [holder.type, holder]));
}

/** Makes a job the one that its type runs now. */
export async function setHolder(sql: Sql, holder: Holder): Promise<void> {
  await sql.$executeRaw`
    INSERT INTO type_holders (type, job_id, generation)
    SELECT ${holder.type}, id, generation FROM jobs WHERE id = ${holder.jobId}::uuid
    ON CONFLICT (type) DO UPDATE SET job_id = EXCLUDED.job_id, generation = EXCLUDED.generation`;
}

/** Whether a task that is admitted has to be counted. */
export function isCounted(limits: TypeLimits | undefined, { perOwner }: Pick<Room, 'perOwner'>): boolean {
  if (perOwner !== undefined) return true;
  return limits?.concurrency !== undefined || limits?.oneByOne === true;
}
