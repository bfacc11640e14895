import type { Sql } from '@app/platform/prisma/database.js';

/**
 * Ends every task of jobs that have just ended: the second statement of a transaction whose first one has changed
 * the job rows and holds their locks. A statement of its own because only a new snapshot sees the tasks that a
 * plan or a claim committed while the first one waited. The fence rises, so that from the commit on nothing is
 * accepted from an attempt that still runs. Ids go over in arrays, and nothing is joined: a plan that was made while the
 * tables were small would join ten thousand rows with as many, one by one, and it is kept.
 * Opens the receipt of a stop for each attempt that runs: that of a cancel is shown, and exit hooks and limits wait for all.
 */
export async function endOpenTasks(sql: Sql, jobIds: string[], actor: string): Promise<void> {
  await sql.$executeRaw`
    WITH open AS MATERIALIZED (
      SELECT t.id, t.job_id, t.kind, t.status, t.worker, t.generation
      FROM tasks t
      WHERE t.id = ANY(ARRAY(SELECT task_id FROM task_inputs WHERE job_id = ANY(${jobIds}::uuid[])))
        AND t.finished_at IS NULL
      ORDER BY t.id FOR NO KEY UPDATE
    ), ended AS (
      UPDATE tasks t SET status = 'canceled', fence = t.fence + 1, lease_until = NULL, finished_at = clock_timestamp()
      WHERE t.id = ANY(ARRAY(SELECT id FROM open))
    ), gone AS (
      DELETE FROM dispatch WHERE id = ANY(ARRAY(SELECT id FROM open))
    ), timed AS (
      DELETE FROM dispatch WHERE id = ANY(${jobIds}::uuid[]) AND kind IN ('start', 'deadline')
    ), counted AS (
      SELECT job_id, count(*) FILTER (WHERE kind = 'task')::int AS canceled,
        jsonb_agg(id) FILTER (WHERE kind = 'task') AS ids
      FROM open GROUP BY job_id
    ), j AS (
      UPDATE jobs j SET tasks_canceled = j.tasks_canceled + c.canceled, planning = false
      FROM counted c WHERE j.id = c.job_id
      RETURNING j.id, j.generation, j.version, j.exit_hook
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, data)
      SELECT j.id, j.generation, j.version, 'tasks.canceled', ${actor}, jsonb_build_object('tasks', c.ids)
      FROM j JOIN counted c ON c.job_id = j.id WHERE c.canceled > 0
    )
    INSERT INTO cancel_stops (job_id, generation, task_id, worker)
    SELECT o.job_id, j.generation, o.id, o.worker FROM open o JOIN j ON j.id = o.job_id
    WHERE o.status = 'active' 
    ON CONFLICT DO NOTHING`;
}
