import { Prisma, type PrismaClient } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';
import { lateNotices } from './outbox.js';

/** A job that had not begun in time after its slot. */
export interface LateStart {
  jobId: string;
  scheduleId: string;
  slot: Date;
}

/**
 * Looks at the jobs of slots whose margin is over, each once: those that had not begun in time make their slot `late`,
 * and are told of in their ledger if they are still open, and to webhooks of their owners. Answers how many were looked at too.
 */
export async function noteLateStarts(
  client: PrismaClient,
  limit: number,
): Promise<{ looked: number; late: LateStart[] }> {
  const due = await client.$queryRaw<{ jobId: string }[]>`
    SELECT job_id::text AS "jobId" FROM schedule_slots
    WHERE check_at <= statement_timestamp() AND check_at IS NOT NULL ORDER BY check_at LIMIT ${limit}`;
  if (due.length === 0) return { looked: 0, late: [] };
  return inTransaction(client, async (sql) => {
    // Locked before the rows of the slots are: whoever comes after finds them looked at.
    const ids = due.map(({ jobId }) => jobId).toSorted();
    await sql.$queryRaw`SELECT id FROM jobs WHERE id = ANY(${ids}::uuid[]) ORDER BY id FOR NO KEY UPDATE`;
    const late = await sql.$queryRaw<LateStart[]>`
      WITH judged AS (
        SELECT x.schedule_id, x.slot, x.job_id, j.status, j.finished_at,
          COALESCE(j.started_at > x.check_at, j.status IS DISTINCT FROM 'canceled' OR j.finished_at > x.check_at) AS late
        FROM schedule_slots x LEFT JOIN jobs j ON j.id = x.job_id
        WHERE x.check_at <= statement_timestamp() AND x.job_id = ANY(${ids}::uuid[])
      ), noted AS (
        UPDATE schedule_slots x SET check_at = NULL,
          outcome = CASE WHEN g.late AND x.outcome IN ('fired', 'dst-gap') THEN 'late' ELSE x.outcome END
        FROM judged g WHERE x.schedule_id = g.schedule_id AND x.slot = g.slot AND x.check_at IS NOT NULL
        RETURNING x.schedule_id, x.slot, x.job_id, g.late, g.finished_at
      ), told AS (
        UPDATE jobs SET version = version + 1
        WHERE id = ANY(ARRAY(SELECT job_id FROM noted WHERE late)) AND finished_at IS NULL
        RETURNING id, generation, version
      ), e AS (
        INSERT INTO job_events (job_id, generation, version, kind, actor) SELECT id, generation, version, 'job.late', 'schedules' FROM told
      ), o AS (${lateNotices(Prisma.raw('noted'))})
      SELECT job_id::text AS "jobId", schedule_id::text AS "scheduleId", slot FROM noted WHERE late`;
    return { looked: due.length, late };
  });
}
