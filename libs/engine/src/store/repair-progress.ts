import type { PrismaClient } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';

/**
 * Recomputes the progress of a page of active jobs from their tasks, where it has drifted. Locks the jobs first:
 * the sum is then read by a statement that sees all that was written before. Answers where the next page begins
 * (undefined: from the start) and how many jobs were mended.
 */
export async function repairProgress(
  client: PrismaClient,
  after: string,
  limit: number,
): Promise<{ next: string | undefined; mended: number }> {
  return inTransaction(client, async (sql) => {
    const page = await sql.$queryRaw<{ id: string; active: boolean }[]>`
      SELECT id::text AS id, status = 'active' AS active FROM jobs
      WHERE finished_at IS NULL AND id > ${after}::uuid ORDER BY id LIMIT ${limit}
      FOR NO KEY UPDATE SKIP LOCKED`;
    const active = page.filter((row) => row.active).map((row) => row.id);
    const next = page.length < limit ? undefined : page.at(-1)?.id;
    if (active.length === 0) return { next, mended: 0 };
    const mended = await sql.$executeRaw`
      WITH s AS (
        SELECT i.job_id, sum(t.progress) FILTER (WHERE t.kind = 'task') AS sum
        FROM task_inputs i JOIN tasks t ON t.id = i.task_id
        WHERE i.job_id = ANY(${active}::uuid[])
        GROUP BY i.job_id
      )
      UPDATE jobs j SET progress_sum = s.sum, version = j.version + 1,
        progress = CASE WHEN j.planning THEN j.progress
          ELSE GREATEST(j.progress, LEAST(99, s.sum / j.tasks_total)) END
      FROM s WHERE j.id = s.job_id AND j.tasks_total > 0 AND s.sum IS NOT NULL
        AND (j.progress_sum <> s.sum OR (NOT j.planning AND j.progress < LEAST(99, floor(s.sum / j.tasks_total))))`;
    return { next, mended };
  });
}
