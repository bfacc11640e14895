import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';
import { firstWithin } from './page-of-jobs.js';

/** Tasks that are deleted in one transaction: some tenths of a second. */
const MOST_TASKS = 20_000;

/**
 * Deletes the next of the many tasks of a job that goes in the end. True when it may have more. From the first of
 * them on nobody owns the job, so that nobody can retry what is left of it.
 */
async function deleteTasks(sql: Sql, jobId: string, mostTasks: number): Promise<boolean> {
  const deleted = await sql.$executeRaw`
    WITH i AS (
      DELETE FROM task_inputs i USING (
        SELECT job_id, position FROM task_inputs WHERE job_id = ${jobId}::uuid ORDER BY position LIMIT ${mostTasks}
      ) m WHERE i.job_id = m.job_id AND i.position = m.position
      RETURNING i.task_id
    ), o AS (
      DELETE FROM task_outputs WHERE task_id IN (SELECT task_id FROM i)
    ), c AS (
      DELETE FROM task_commits WHERE task_id IN (SELECT task_id FROM i)
    ), hidden AS (
      UPDATE jobs SET owner_id = '' WHERE id = ${jobId}::uuid
    )
    DELETE FROM tasks WHERE id IN (SELECT task_id FROM i)`;
  return deleted === mostTasks;
}

/** Forgets worker processes that have given no sign for so long. */
export async function deleteOldWorkers(sql: Sql, keepMs: number): Promise<void> {
  await sql.$executeRaw`
    DELETE FROM workers WHERE seen_at < statement_timestamp() - make_interval(secs => ${keepMs / 1000}::float8)`;
}

/**
 * Deletes jobs that ended longer ago than they are kept, with all that belongs to them but their idempotency keys, which
 * have a time of their own. Open jobs, and those whose exit is still open, are never touched.
 */
export async function deleteOldJobs(
  client: PrismaClient,
  keepMs: number,
  limit: number,
  mostTasks = MOST_TASKS,
): Promise<number> {
  return inTransaction(client, async (sql) => {
    const old = await sql.$queryRaw<{ id: string; tasks: number }[]>`
      SELECT id::text AS id, tasks_total AS tasks FROM jobs
      WHERE finished_at < statement_timestamp() - make_interval(secs => ${keepMs / 1000}::float8)
        AND NOT (exit_hook AND EXISTS (SELECT FROM dispatch d WHERE d.id = jobs.id AND d.kind = 'exit'))
      ORDER BY finished_at LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    const [first] = old;
    if (!first) return 0;
    if (first.tasks > mostTasks && (await deleteTasks(sql, first.id, mostTasks))) return 0;
    const ids = firstWithin(old, mostTasks).map((job) => job.id);
    await sql.$executeRaw`
      WITH i AS (
        DELETE FROM task_inputs WHERE job_id = ANY(${ids}::uuid[]) RETURNING task_id
      ), o AS (
        DELETE FROM task_outputs WHERE task_id IN (SELECT task_id FROM i)
      ), c AS (
        DELETE FROM task_commits WHERE task_id IN (SELECT task_id FROM i)
      ), t AS (
        DELETE FROM tasks WHERE id IN (SELECT task_id FROM i)
      ), e AS (
        DELETE FROM job_events WHERE job_id = ANY(${ids}::uuid[])
      ), n AS (
        DELETE FROM cancellations WHERE job_id = ANY(${ids}::uuid[])
      ), l AS (
        DELETE FROM job_labels WHERE job_id = ANY(${ids}::uuid[])
      ), s AS (
        DELETE FROM cancel_stops WHERE job_id = ANY(${ids}::uuid[])
      ), k AS (
        DELETE FROM catalog_calls WHERE job_id = ANY(${ids}::uuid[])
      ), x AS (
        DELETE FROM dedupe_keys WHERE job_id = ANY(${ids}::uuid[])
      )
      DELETE FROM jobs WHERE id = ANY(${ids}::uuid[])`;
    return ids.length;
  });
}
