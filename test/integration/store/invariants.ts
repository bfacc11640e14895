import type { PrismaClient } from '@app/platform/prisma/database.js';

/**
 * What must hold of the rows of every job whenever nothing is under way, each as a statement that finds the jobs
 * that break it.
 */
const RULES: Record<string, string> = {
  'an ended job has no open task': `SELECT j.id FROM jobs j JOIN tasks t ON t.job_id = j.id WHERE j.finished_at IS NOT NULL AND t.finished_at IS NULL`,
  'an ended job has no dispatch row but its exit': `SELECT j.id FROM jobs j JOIN dispatch d ON d.job_id = j.id
     WHERE j.finished_at IS NOT NULL AND d.kind <> 'exit'`,
  'an exit is of an ended job with a hook': `SELECT j.id FROM jobs j JOIN dispatch d ON d.job_id = j.id
     WHERE d.kind = 'exit' AND NOT (j.finished_at IS NOT NULL AND j.exit_hook)`,
  'an end with a hook has its exit, open or over': `SELECT j.id FROM jobs j WHERE j.exit_hook AND j.finished_at IS NOT NULL
     AND (SELECT count(*) FROM dispatch d WHERE d.id = j.id AND d.kind = 'exit')
       + (SELECT count(*) FROM job_events e WHERE e.job_id = j.id AND e.generation = j.generation AND e.kind = 'job.exited') <> 1`,
  'an ended job plans no more': `SELECT id FROM jobs WHERE finished_at IS NOT NULL AND planning`,
  'an open job plans as long as its plan is open': `SELECT j.id FROM jobs j WHERE j.finished_at IS NULL AND j.planning <>
       EXISTS (SELECT FROM tasks t WHERE t.job_id = j.id AND t.kind = 'plan' AND t.finished_at IS NULL)`,
  'the counts of an ended job add up': `SELECT id FROM jobs WHERE finished_at IS NOT NULL AND tasks_completed + tasks_failed + tasks_canceled <> tasks_total`,
  'an open job has open tasks, or is being finalized': `SELECT id FROM jobs WHERE status IN ('queued', 'active') AND NOT planning
       AND tasks_completed + tasks_failed + tasks_canceled >= tasks_total`,
  'a job that is being finalized has one dispatch row, and no open task': `SELECT j.id FROM jobs j WHERE j.status = 'finalizing' AND (
       (SELECT count(*) FROM dispatch d WHERE d.job_id = j.id AND d.kind = 'finalize') <> 1
       OR EXISTS (SELECT FROM tasks t WHERE t.job_id = j.id AND t.finished_at IS NULL))`,
  'the counts are those of the tasks': `SELECT j.id FROM jobs j LEFT JOIN tasks t ON t.job_id = j.id AND t.kind = 'task' GROUP BY j.id
     HAVING j.tasks_total <> count(t.id)
       OR j.tasks_completed <> count(*) FILTER (WHERE t.status = 'completed')
       OR j.tasks_failed <> count(*) FILTER (WHERE t.status = 'failed')
       OR j.tasks_canceled <> count(*) FILTER (WHERE t.status = 'canceled')`,
  'the sum of the progress is that of the tasks': `SELECT j.id FROM jobs j LEFT JOIN tasks t ON t.job_id = j.id AND t.kind = 'task' GROUP BY j.id
     HAVING j.progress_sum <> COALESCE(sum(t.progress), 0)`,
  'progress is at most the floor of the mean, and at most 99 before the end': `SELECT id FROM jobs WHERE status <> 'completed'
       AND progress > LEAST(99, COALESCE(progress_sum / NULLIF(tasks_total, 0), 0))`,
  'an open task has one dispatch row of its kind, an ended one has none': `SELECT j.id FROM tasks t JOIN jobs j ON j.id = t.job_id
     WHERE (SELECT count(*) FROM dispatch d WHERE d.id = t.id AND d.kind = t.kind)
       <> (t.finished_at IS NULL AND j.status <> 'scheduled')::int`,
  'a dispatch row has its unit of work': `SELECT d.job_id AS id FROM dispatch d WHERE NOT EXISTS (SELECT FROM tasks t WHERE t.id = d.id)
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = d.id AND d.kind IN ('start', 'deadline', 'finalize', 'exit'))`,
  'what is held is unsent, waits for its turn alone, and is not being run': `SELECT d.job_id AS id FROM dispatch d JOIN tasks t ON t.id = d.id
     WHERE (d.gate = 'held') IS DISTINCT FROM (d.look_again_at = 'infinity') AND (d.gate = 'held' OR d.look_again_at = 'infinity')
       OR (d.gate = 'held' AND (t.status = 'active' OR d.incarnation <> '' OR d.owner_id IS NULL OR d.type IS NULL OR d.rank IS NULL))`,
  'a job starts once and ends once in each generation': `SELECT j.id FROM jobs j LEFT JOIN job_events e ON e.job_id = j.id AND e.generation = j.generation GROUP BY j.id
     HAVING count(*) FILTER (WHERE e.kind = 'job.queued') > 1
       OR count(*) FILTER (WHERE e.kind = 'job.active') > 1
       OR count(*) FILTER (WHERE e.kind = 'job.finalizing') > 1
       OR count(*) FILTER (WHERE e.kind IN ('job.completed', 'job.failed', 'job.canceled')) <> (j.finished_at IS NOT NULL)::int
       OR count(*) FILTER (WHERE e.kind = 'job.' || j.status) <> 1`,
  'no event has a version that its job never had': `SELECT j.id FROM jobs j JOIN job_events e ON e.job_id = j.id WHERE e.version > j.version OR e.generation > j.generation`,
  'a transition of a job has a version of its own': `SELECT job_id AS id FROM job_events WHERE kind LIKE 'job.%' AND kind <> 'job.exited' GROUP BY job_id, version HAVING count(*) > 1`,
  'the granted fences of a task are distinct and rising': `SELECT job_id AS id FROM (
       SELECT e.job_id, (t->>'fence')::int AS fence,
         lag((t->>'fence')::int) OVER (PARTITION BY t->>'id' ORDER BY e.seq) AS before
       FROM job_events e, jsonb_array_elements(e.data->'tasks') t WHERE e.kind = 'tasks.active') f
     WHERE fence <= before`,
  'a task ends once in each generation': `SELECT e.job_id AS id FROM job_events e,
       jsonb_array_elements(e.data->'tasks') t, LATERAL (SELECT COALESCE(t->>'id', t#>>'{}') AS task) i
     WHERE e.kind IN ('tasks.completed', 'tasks.failed', 'tasks.canceled')
     GROUP BY e.job_id, e.generation, i.task HAVING count(*) > 1`,
  'a canceled job has its receipt, and only it': `SELECT j.id FROM jobs j WHERE (j.status = 'canceled') <>
       EXISTS (SELECT FROM cancellations c WHERE c.job_id = j.id AND c.generation = j.generation)`,
  'a completed job has no failed task, a failed one has its error': `SELECT id FROM jobs WHERE (status = 'completed' AND tasks_failed + tasks_canceled > 0)
       OR (status = 'failed') <> (error IS NOT NULL AND status = 'failed')`,
};

/** The rules that some job breaks, with one such job each. */
export async function brokenRules(client: PrismaClient): Promise<string[]> {
  const broken: string[] = [];
  for (const [rule, finding] of Object.entries(RULES)) {
    const [job] = await client.$queryRawUnsafe<{ id: string }[]>(
      `SELECT id::text FROM (${finding}) f LIMIT 1`,
    );
    if (job) broken.push(`not so: ${rule} (job ${job.id})`);
  }
  return broken;
}
