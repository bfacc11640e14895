import type { PrismaClient } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';

/** Deletes jobs that ended longer ago than they are kept, with all that belongs to them. Open jobs are never touched. */
export async function deleteOldJobs(client: PrismaClient, keepMs: number, limit: number): Promise<number> {
  return inTransaction(client, async (sql) => {
    const old = await sql.$queryRaw<{ id: string }[]>`
      SELECT id::text AS id FROM jobs
      WHERE finished_at < statement_timestamp() - make_interval(secs => ${keepMs / 1000}::float8)
      ORDER BY finished_at LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    const ids = old.map((job) => job.id);
    if (ids.length === 0) return 0;
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
      ), s AS (
        DELETE FROM cancel_stops WHERE job_id = ANY(${ids}::uuid[])
      ), k AS (
        DELETE FROM catalog_calls WHERE job_id = ANY(${ids}::uuid[])
      ), x AS (
        DELETE FROM dedupe_keys WHERE job_id = ANY(${ids}::uuid[])
      ), y AS (
        DELETE FROM idempotency_keys WHERE job_id = ANY(${ids}::uuid[])
      )
      DELETE FROM jobs WHERE id = ANY(${ids}::uuid[])`;
    return ids.length;
  });
}
