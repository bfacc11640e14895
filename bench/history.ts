import { Client } from 'pg';
import type { Bench } from './with-services.js';

const HISTORY = `
  WITH s AS MATERIALIZED (
    SELECT gen_random_uuid() AS job, gen_random_uuid() AS task, now() - n * interval '1 second' AS at
    FROM generate_series(1, $1::int) AS n
  ), j AS (
    INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, outcome, failure_policy, max_attempts, resumable,
                      finalize, payload, tasks_total, tasks_completed, progress, created_at, finished_at)
    SELECT job, 'bench', 'key:bench', 'bench.nothing', 'default', 'completed', 'completed', 'fail-fast', 3, false,
           false, '{}', 1, 1, 100, at, at
    FROM s
  ), t AS (
    INSERT INTO tasks (id, job_id, position, status, progress, finished_at)
    SELECT task, job, 0, 'completed', 100, at FROM s
  )
  INSERT INTO task_inputs (job_id, position, task_id) SELECT job, 0, task FROM s`;

/** Fills the database with jobs that have ended, for one that was never used plans its statements otherwise. */
export async function writeHistory({ databaseUrl }: Bench, jobs: number): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(HISTORY, [jobs]);
    await client.query('VACUUM ANALYZE');
  } finally {
    await client.end();
  }
}
