import type { Sql } from '@app/platform/prisma/database.js';

/** Jobs that have not ended, and their tasks that have not. */
export interface OpenWork {
  jobs: number;
  tasks: number;
}

/** How much may be open of an owner; undefined: as much as they like. */
export interface OpenLimits {
  jobs: number | undefined;
  tasks: number | undefined;
}

const ALL = 2_147_483_647;

/** What an owner has open, read from the index of open jobs; of more than `most` jobs no more are counted. */
export async function countOpen(sql: Pick<Sql, '$queryRaw'>, ownerId: string, most = ALL): Promise<OpenWork> {
  return (await countOpenOf(sql, [ownerId], most)).get(ownerId) ?? { jobs: 0, tasks: 0 };
}

/** What owners may still have open; nothing is said of any where there is no limit. */
export async function roomOf(
  sql: Pick<Sql, '$queryRaw'>,
  owners: string[],
  { jobs = Infinity, tasks = Infinity }: OpenLimits,
): Promise<Map<string, OpenWork>> {
  if (owners.length === 0 || (jobs === Infinity && tasks === Infinity)) return new Map();
  const open = await countOpenOf(sql, [...new Set(owners)], Math.min(jobs, ALL));
  const left = (work: OpenWork) => ({ jobs: jobs - work.jobs, tasks: tasks - work.tasks });
  return new Map([...open].map(([ownerId, work]) => [ownerId, left(work)]));
}

async function countOpenOf(
  sql: Pick<Sql, '$queryRaw'>,
  owners: string[],
  most: number,
): Promise<Map<string, OpenWork>> {
  const counted = await sql.$queryRaw<(OpenWork & { ownerId: string })[]>`
    SELECT w.owner_id AS "ownerId", c.jobs, c.tasks FROM unnest(${owners}::text[]) AS w(owner_id) CROSS JOIN LATERAL (
      SELECT count(*)::int AS jobs, COALESCE(sum(open), 0)::int AS tasks FROM (
        SELECT tasks_total - tasks_completed - tasks_failed - tasks_canceled AS open
        FROM jobs WHERE owner_id = w.owner_id AND finished_at IS NULL LIMIT ${most}
      ) o
    ) c`;
  return new Map(counted.map(({ ownerId, jobs, tasks }) => [ownerId, { jobs, tasks }]));
}
