import type { Lane, WaitingTask } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import type { Delivery } from './dispatch.js';
import type { Holder } from './type-limits.js';

/** A task that waits in Postgres to be admitted. */
export interface HeldTask extends WaitingTask {
  kind: 'task' | 'plan';
}

/**
 * The owners that have tasks waiting for a queue, from the one after `lastOwner` on and around. Jumps from one to the
 * next in the index, so that it costs what there are of them and not what waits.
 */
export async function findOwners(
  sql: Sql,
  queue: string,
  lastOwner: string,
  limit: number,
): Promise<string[]> {
  const later = await walkOwners(sql, queue, Prisma.sql`owner_id > ${lastOwner}`, limit);
  if (later.length === limit) return later;
  const before = await walkOwners(sql, queue, Prisma.sql`owner_id <= ${lastOwner}`, limit - later.length);
  return [...later, ...before];
}

async function walkOwners(sql: Sql, queue: string, where: Prisma.Sql, limit: number): Promise<string[]> {
  const rows = await sql.$queryRaw<{ ownerId: string }[]>`
    WITH RECURSIVE owner AS (
      (SELECT owner_id FROM dispatch WHERE gate = 'held' AND queue = ${queue} AND ${where} ORDER BY owner_id LIMIT 1)
      UNION ALL
      SELECT n.owner_id FROM owner o CROSS JOIN LATERAL (
        SELECT owner_id FROM dispatch
        WHERE gate = 'held' AND queue = ${queue} AND owner_id > o.owner_id AND ${where} ORDER BY owner_id LIMIT 1
      ) n
    )
    SELECT owner_id AS "ownerId" FROM owner LIMIT ${limit}`;
  return rows.map(({ ownerId }) => ownerId);
}

/** The first tasks of owners and types, at most `depth` of each lane, in the order of the owners. */
export async function readHeads(
  sql: Sql,
  queue: string,
  owners: string[],
  types: string[],
  depth: number,
): Promise<Lane<HeldTask>[]> {
  if (owners.length === 0 || types.length === 0) return [];
  const rows = await sql.$queryRaw<(HeldTask & { ownerId: string; type: string })[]>`
    SELECT o.id AS "ownerId", k.name AS type, t.id::text AS "taskId", t.kind, t.job_id::text AS "jobId", t.rank
    FROM unnest(${owners}::text[]) WITH ORDINALITY AS o(id, nth) CROSS JOIN unnest(${types}::text[]) AS k(name)
    CROSS JOIN LATERAL (
      SELECT id, kind, job_id, rank FROM dispatch
      WHERE gate = 'held' AND queue = ${queue} AND owner_id = o.id AND type = k.name
      ORDER BY rank, job_id, id LIMIT ${depth}
    ) t
    ORDER BY o.nth, k.name, t.rank, t.job_id, t.id`;
  const lanes: Lane<HeldTask>[] = [];
  for (const { ownerId, type, ...task } of rows) {
    const last = lanes.at(-1);
    if (last?.ownerId === ownerId && last.type === type) last.tasks.push(task);
    else lanes.push({ ownerId, type, tasks: [task] });
  }
  return lanes;
}

/** The waiting tasks of the job that holds its type. */
export async function readHeldBy(
  sql: Sql,
  queue: string,
  { type, jobId, ownerId }: Holder,
  depth: number,
): Promise<Lane<HeldTask>> {
  const tasks = await sql.$queryRaw<HeldTask[]>`
    SELECT id::text AS "taskId", kind, job_id::text AS "jobId", rank FROM dispatch
    WHERE gate = 'held' AND queue = ${queue} AND owner_id = ${ownerId} AND type = ${type}
      AND rank = (SELECT rank FROM jobs WHERE id = ${jobId}::uuid) AND job_id = ${jobId}::uuid
    ORDER BY id LIMIT ${depth}`;
  return { ownerId, type, tasks };
}

/**
 * Admits tasks that are still held: from now on they count as sent. Those that limits count stay marked. Answers in
 * the order of the turns. They are found by their ids and not in the index of all that is held: that does not serve how
 * `gate` is compared.
 */
export async function openGates(
  sql: Sql,
  tasks: { taskId: string; counted: boolean }[],
  incarnation: string,
  firstLookMs: number,
): Promise<Delivery[]> {
  const ids = tasks.map(({ taskId }) => taskId);
  const idsOf = (counted: boolean) =>
    tasks.filter((task) => task.counted === counted).map(({ taskId }) => taskId);
  const open = async (some: string[], gate: 'admitted' | null) =>
    some.length === 0
      ? []
      : sql.$queryRaw<Delivery[]>`
          UPDATE dispatch d SET gate = ${gate}, incarnation = ${incarnation},
            look_again_at = clock_timestamp() + make_interval(secs => ${firstLookMs / 1000}::float8)
          WHERE d.ctid = ANY(ARRAY(
            SELECT ctid FROM dispatch WHERE id = ANY(${some}::uuid[]) AND gate IS NOT DISTINCT FROM 'held'
            ORDER BY id FOR UPDATE SKIP LOCKED
          ))
          RETURNING d.id::text AS "taskId", d.kind, d.queue, d.epoch`;
  const opened = [...(await open(idsOf(true), 'admitted')), ...(await open(idsOf(false), null))];
  const place = new Map(ids.map((id, index) => [id, index]));
  return opened.toSorted((x, y) => (place.get(x.taskId) ?? 0) - (place.get(y.taskId) ?? 0));
}

/** How many messages of a queue may wait in Redis, and whether tasks waited for room at the last pass, some milliseconds ago. */
export async function readWindows(
  sql: Sql,
): Promise<{ name: string; window: number; backlogged: boolean; ageMs: number }[]> {
  return sql.$queryRaw`
    SELECT name, "window", backlogged, (extract(epoch FROM clock_timestamp() - looked_at) * 1000)::float8 AS "ageMs"
    FROM queues`;
}
