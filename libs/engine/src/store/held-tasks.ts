import type { Lane, WaitingTask } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import type { Delivery } from './dispatch.js';
import type { Holder } from './type-limits.js';

/** A task that waits in Postgres to be admitted. */
export interface HeldTask extends WaitingTask {
  kind: 'task' | 'plan';
}

/** An owner and a type that have tasks waiting. */
interface LaneKey {
  ownerId: string;
  type: string;
}

/**
 * The lanes of a queue that have tasks waiting, from the owner after `lastOwner` on and around. Jumps from one lane
 * to the next in the index, so that it costs what there are of them and not what waits in them.
 */
export async function findLanes(
  sql: Sql,
  queue: string,
  lastOwner: string,
  limit: number,
): Promise<LaneKey[]> {
  const later = await walkLanes(sql, queue, Prisma.sql`owner_id > ${lastOwner}`, limit);
  if (later.length === limit) return later;
  const before = await walkLanes(sql, queue, Prisma.sql`owner_id <= ${lastOwner}`, limit - later.length);
  return [...later, ...before];
}

async function walkLanes(sql: Sql, queue: string, where: Prisma.Sql, limit: number): Promise<LaneKey[]> {
  return sql.$queryRaw<LaneKey[]>`
    WITH RECURSIVE lane AS (
      (SELECT owner_id, type FROM dispatch WHERE gate = 'held' AND queue = ${queue} AND ${where}
        ORDER BY owner_id, type LIMIT 1)
      UNION ALL
      SELECT n.owner_id, n.type FROM lane l CROSS JOIN LATERAL (
        SELECT owner_id, type FROM dispatch
        WHERE gate = 'held' AND queue = ${queue} AND (owner_id, type) > (l.owner_id, l.type) AND ${where}
        ORDER BY owner_id, type LIMIT 1
      ) n
    )
    SELECT owner_id AS "ownerId", type FROM lane LIMIT ${limit}`;
}

/** The first tasks of lanes, at most `depth` of each, in the order of the lanes. */
export async function readHeads(
  sql: Sql,
  queue: string,
  lanes: LaneKey[],
  depth: number,
): Promise<Lane<HeldTask>[]> {
  if (lanes.length === 0) return [];
  const owners = lanes.map(({ ownerId }) => ownerId);
  const types = lanes.map(({ type }) => type);
  const rows = await sql.$queryRaw<(HeldTask & { nth: number })[]>`
    SELECT l.nth::int AS nth, t.id::text AS "taskId", t.kind, t.job_id::text AS "jobId", t.rank
    FROM unnest(${owners}::text[], ${types}::text[]) WITH ORDINALITY AS l(owner_id, type, nth)
    CROSS JOIN LATERAL (
      SELECT id, kind, job_id, rank FROM dispatch
      WHERE gate = 'held' AND queue = ${queue} AND owner_id = l.owner_id AND type = l.type
      ORDER BY rank, job_id, id LIMIT ${depth}
    ) t
    ORDER BY l.nth, t.rank, t.job_id, t.id`;
  const heads: Lane<HeldTask>[] = lanes.map((lane) => ({ ...lane, tasks: [] }));
  for (const { nth, ...task } of rows) heads[nth - 1]?.tasks.push(task);
  return heads;
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
 * the order of the turns.
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
            SELECT ctid FROM dispatch WHERE id = ANY(${some}::uuid[]) AND gate = 'held'
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
