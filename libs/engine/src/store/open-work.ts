import type { Sql } from '@app/platform/prisma/database.js';

/** Jobs that have not ended, and their tasks that have not. */
export interface OpenWork {
  jobs: number;
  tasks: number;
}

/** What an owner has open, read from the index of open jobs; of more than `most` jobs no more are counted. */
export async function countOpen(
  sql: Pick<Sql, '$queryRaw'>,
  ownerId: string,
  most = 2_147_483_647,
): Promise<OpenWork> {
  const [counted] = await sql.$queryRaw<OpenWork[]>`
    SELECT count(*)::int AS jobs, COALESCE(sum(open), 0)::int AS tasks FROM (
      SELECT tasks_total - tasks_completed - tasks_failed - tasks_canceled AS open
      FROM jobs WHERE owner_id = ${ownerId} AND finished_at IS NULL LIMIT ${most}
    ) o`;
  return counted ?? { jobs: 0, tasks: 0 };
}
