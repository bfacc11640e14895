import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { openExits } from './exit-hooks.js';
import { inTransaction } from './in-transaction.js';
import { openNotices } from './outbox.js';
import { firstWithin } from './page-of-jobs.js';

/** Tasks that are read while the locks of their jobs are held: some tenths of a second. A job that has more goes alone. */
const MOST_TASKS = 20_000;

/** What a look at a page of open jobs has mended. */
export interface Repairs {
  /** Where the next page begins; undefined: from the start. */
  next: string | undefined;
  /** Jobs whose counters or progress had drifted from their tasks. */
  drifted: number;
  /** Open work that nothing would have looked at any more. */
  orphans: number;
}

/**
 * Compares a page of open jobs with their tasks and mends what has drifted: counters, progress, a job that should
 * have ended, and work without a dispatch row. The jobs are locked first, so that the tasks are then read as they
 * were left by all that was written before. Nothing of this happens by itself; it is for what nobody thought of.
 */
export async function repairJobs(
  client: PrismaClient,
  after: string,
  limit: number,
  mostTasks = MOST_TASKS,
): Promise<Repairs> {
  return inTransaction(client, async (sql) => {
    const found = await sql.$queryRaw<{ id: string; tasks: number }[]>`
      SELECT id::text AS id, tasks_total AS tasks FROM jobs WHERE finished_at IS NULL AND id > ${after}::uuid
      ORDER BY id LIMIT ${limit}`;
    const ids = firstWithin(found, mostTasks).map((job) => job.id);
    const next = ids.length < limit && ids.length === found.length ? undefined : ids.at(-1);
    const page = await sql.$queryRaw<{ id: string; status: string }[]>`
      SELECT id::text AS id, status FROM jobs WHERE finished_at IS NULL AND id = ANY(${ids}::uuid[])
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`;
    const idsOf = (...statuses: string[]) =>
      page.filter((job) => statuses.includes(job.status)).map((job) => job.id);
    const active = idsOf('active');
    const drifted = active.length === 0 ? 0 : await mendCounters(sql, active);
    const orphans =
      page.length === 0
        ? 0
        : await mendDispatch(sql, idsOf('queued', 'active'), idsOf('finalizing'), idsOf('scheduled'));
    return { next, drifted, orphans };
  });
}

/** The open job after another one; undefined: there is none. */
export async function nextOpenJob(sql: Sql, after: string): Promise<string | undefined> {
  const [job] = await sql.$queryRaw<{ id: string }[]>`
    SELECT id::text AS id FROM jobs WHERE finished_at IS NULL AND id > ${after}::uuid ORDER BY id LIMIT 1`;
  return job?.id;
}

async function mendCounters(sql: Sql, jobIds: string[]): Promise<number> {
  const endedIn = Prisma.sql`(SELECT n.*, job_id AS id, clock_timestamp() AS finished_at
    FROM n WHERE status IN ('completed', 'failed')) ended_jobs`;
  return sql.$executeRaw`
    WITH s AS (
      SELECT i.job_id,
        count(*) FILTER (WHERE t.kind = 'task')::int AS total,
        count(*) FILTER (WHERE t.kind = 'task' AND t.status = 'completed')::int AS completed,
        count(*) FILTER (WHERE t.kind = 'task' AND t.status = 'failed')::int AS failed,
        count(*) FILTER (WHERE t.kind = 'task' AND t.status = 'canceled')::int AS canceled,
        count(*) FILTER (WHERE t.finished_at IS NULL) AS open,
        COALESCE(bool_or(t.kind = 'plan' AND t.finished_at IS NULL), false) AS planning,
        COALESCE(bool_or(t.status = 'failed'), false) AS broken,
        COALESCE(sum(t.progress) FILTER (WHERE t.kind = 'task'), 0) AS progress_sum
      FROM task_inputs i JOIN tasks t ON t.id = i.task_id
      WHERE i.job_id = ANY(${jobIds}::uuid[])
      GROUP BY i.job_id
    ), n AS MATERIALIZED (
      SELECT s.*, j.generation, j.version + 1 AS version, j.exit_hook, j.error, j.owner_id, j.type,
        j.labels, j.notify, CASE
          WHEN s.open > 0 THEN 'active'
          WHEN s.broken THEN 'failed'
          WHEN j.finalize AND s.total > 0 THEN 'finalizing'
          ELSE 'completed' END AS status
      FROM s JOIN jobs j ON j.id = s.job_id
      WHERE s.open = 0 OR j.planning <> s.planning OR j.progress_sum <> s.progress_sum
        OR (j.tasks_total, j.tasks_completed, j.tasks_failed, j.tasks_canceled)
          <> (s.total, s.completed, s.failed, s.canceled)
        OR (NOT s.planning AND s.total > 0 AND j.progress < LEAST(99, s.progress_sum / GREATEST(s.total, 1)))
    ), f AS (
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
      SELECT job_id, 'finalize', job_id, '', clock_timestamp() FROM n WHERE status = 'finalizing'
      ON CONFLICT (id, kind) DO NOTHING
    ), x AS (${openExits(endedIn)}), o AS (${openNotices(endedIn)}), timed AS (
      DELETE FROM dispatch WHERE kind = 'deadline' AND id = ANY(ARRAY(SELECT job_id FROM n WHERE status <> 'active'))
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor)
      SELECT job_id, generation, version, 'job.' || status, 'syncer' FROM n WHERE status <> 'active'
    )
    UPDATE jobs j SET status = n.status, version = n.version, planning = n.planning, tasks_total = n.total,
      tasks_completed = n.completed, tasks_failed = n.failed, tasks_canceled = n.canceled,
      progress_sum = n.progress_sum,
      progress = CASE WHEN n.status = 'completed' THEN 100 WHEN n.planning OR n.total = 0 THEN j.progress
        ELSE GREATEST(j.progress, LEAST(99, n.progress_sum / n.total)) END,
      outcome = CASE WHEN n.status IN ('completed', 'failed') THEN n.status END,
      finished_at = CASE WHEN n.status IN ('completed', 'failed') THEN clock_timestamp() END
    FROM n WHERE j.id = n.job_id`;
}

async function mendDispatch(
  sql: Sql,
  running: string[],
  finalizing: string[],
  scheduled: string[],
): Promise<number> {
  const timed = [...running, ...scheduled];
  return sql.$executeRaw`
    INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
    SELECT t.id, t.kind, j.id, j.queue, clock_timestamp()
    FROM jobs j JOIN task_inputs i ON i.job_id = j.id JOIN tasks t ON t.id = i.task_id
    WHERE j.id = ANY(${running}::uuid[]) AND COALESCE(t.finished_at IS NULL, false)
      AND NOT EXISTS (SELECT FROM dispatch d WHERE d.id = t.id AND d.kind = t.kind)
    UNION ALL
    SELECT j.id, 'finalize', j.id, '', clock_timestamp() FROM jobs j
    WHERE j.id = ANY(${finalizing}::uuid[])
      AND NOT EXISTS (SELECT FROM dispatch d WHERE d.id = j.id AND d.kind = 'finalize')
    UNION ALL
    SELECT j.id, 'start', j.id, '', j.run_at FROM jobs j
    WHERE j.id = ANY(${scheduled}::uuid[])
      AND NOT EXISTS (SELECT FROM dispatch d WHERE d.id = j.id AND d.kind = 'start')
    UNION ALL
    SELECT j.id, 'deadline', j.id, '', u.at FROM jobs j CROSS JOIN LATERAL (
      SELECT CASE WHEN j.status = 'active' THEN j.started_at + make_interval(secs => j.max_runtime_ms / 1000.0)
        ELSE j.expires_at END AS at
    ) u
    WHERE j.id = ANY(${timed}::uuid[]) AND u.at IS NOT NULL
      AND NOT EXISTS (SELECT FROM dispatch d WHERE d.id = j.id AND d.kind = 'deadline')
    ON CONFLICT (id, kind) DO NOTHING`;
}
