import type { JobFailure, JobStatus, Json } from '@app/core';
import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { endOpenTasks } from './end-open-tasks.js';
import { openExits } from './exit-hooks.js';
import { inTransaction, retryRaces } from './in-transaction.js';
import { openNotices } from './outbox.js';
import { givenRows } from './given-rows.js';

/** What became of an attempt, to be written under its fence. */
export interface FinishMember {
  taskId: string;
  fence: number;
  status: 'completed' | 'failed' | 'retrying' | 'paused' | 'queued';
  result?: Json;
  error?: JobFailure;
  /** Milliseconds until the next attempt, where there is one. */
  delayMs: number;
  /** Whether the attempt counts against the task's attempts. */
  charged: boolean;
  /** Written by the sweeper for a worker that fell silent: applied only if the lease has really ended. */
  expired: boolean;
  /**
   * What the end tells of the task: `raised`, its worker died and it may be why; `alone`, its process died while nothing
   * else ran in it, which counts against its crash budget; `cleared`, it came to an ordinary end. Default: nothing.
   */
  suspicion?: 'raised' | 'alone' | 'cleared';
}

/**
 * `mine-already`: an earlier try of this very write was committed. `stale`: the attempt no longer holds its task,
 * or its job has ended. `busy`: the job row was locked; try again.
 */
export interface Finish {
  kind: 'applied' | 'mine-already' | 'stale' | 'busy';
  jobId: string | null;
  /** The job's status after the write. */
  jobStatus: JobStatus | null;
  /** Whether a limit counted the task: another one may have its place. */
  freed: boolean;
}

interface Row extends Finish {
  member: string;
  jobFailed: boolean;
}

/**
 * Writes what became of attempts and rolls it up: one row, one version and one set of events per job and batch.
 * The statement that counts the last task moves its job on. A job that fails takes its open tasks with it.
 * @param wait waits for locked jobs instead of answering `busy`.
 */
export async function finishTasks(
  client: PrismaClient,
  members: FinishMember[],
  actor: string,
  wait = false,
): Promise<Map<string, Finish>> {
  // Only a failed task can end a job that has open ones, and only that needs a second statement.
  const rows = members.some((member) => member.status === 'failed')
    ? await inTransaction(client, async (sql) => {
        const written = await writeFinishes(sql, members, actor, wait);
        const failed = [
          ...new Set(written.flatMap((row) => (row.jobFailed && row.jobId ? [row.jobId] : []))),
        ];
        if (failed.length > 0) await endOpenTasks(sql, failed.toSorted(), actor);
        return written;
      })
    : await retryRaces(() => writeFinishes(client, members, actor, wait));
  return new Map(
    rows.map(({ member, kind, jobId, jobStatus, freed }) => [member, { kind, jobId, jobStatus, freed }]),
  );
}

const MEMBER = Prisma.sql`id uuid, fence int, status text, result jsonb, error jsonb, delay float8, charged boolean,
  expired boolean, suspicion text`;

async function writeFinishes(
  sql: Sql,
  members: FinishMember[],
  actor: string,
  wait: boolean,
): Promise<Row[]> {
  const rows = members.map((member) => ({
    id: member.taskId,
    fence: member.fence,
    status: member.status,
    result: member.result,
    error: member.error,
    delay: member.delayMs / 1000,
    charged: member.charged,
    expired: member.expired,
    suspicion: member.suspicion,
  }));
  const endedIn = Prisma.sql`(SELECT n.*, (SELECT at FROM ended) AS finished_at
    FROM next n WHERE status IN ('completed', 'failed')) ended_jobs`;
  const skip = wait ? Prisma.empty : Prisma.sql`SKIP LOCKED`;
  return sql.$queryRaw<Row[]>`
    WITH ended AS MATERIALIZED (
      SELECT clock_timestamp() AS at
    ), m AS MATERIALIZED (
      SELECT * FROM ${givenRows(rows, MEMBER)} m
    ), seen AS MATERIALIZED (
      SELECT t.id, t.job_id, t.status, t.fence, t.lease_until, d.gate IS NOT DISTINCT FROM 'admitted' AS counted
      FROM m JOIN tasks t ON t.id = m.id LEFT JOIN dispatch d ON d.id = t.id AND d.kind = t.kind
    ), j AS MATERIALIZED (
      SELECT id, status, generation, version, failure_policy, finalize, exit_hook, planning, tasks_total, tasks_completed,
        tasks_failed, tasks_canceled, progress_sum, progress, error, owner_id, type, labels, notify
      FROM jobs WHERE id IN (SELECT job_id FROM seen) AND COALESCE(status = 'active', false)
      ORDER BY id FOR NO KEY UPDATE ${skip}
    ), locked AS MATERIALIZED (
      SELECT t.id, t.job_id, t.kind, t.worker, t.attempt, t.progress, m.fence, m.status, m.result, m.error, m.delay,
        m.charged, m.suspicion
      FROM tasks t JOIN m ON m.id = t.id
      WHERE COALESCE(t.job_id IN (SELECT id FROM j) AND t.status = 'active' AND t.fence = m.fence
        AND (NOT m.expired OR t.lease_until < clock_timestamp()), false)
      ORDER BY t.id FOR NO KEY UPDATE OF t
    ), up AS (
      UPDATE tasks t SET status = l.status, lease_until = NULL,
        attempt = t.attempt - (NOT l.charged)::int, crashes = t.crashes + COALESCE(l.suspicion = 'alone', false)::int,
        suspect = CASE WHEN l.suspicion IS NULL THEN t.suspect ELSE l.suspicion <> 'cleared' END,
        progress = CASE WHEN l.status = 'completed' THEN 100 ELSE t.progress END,
        finished_at = CASE WHEN l.status IN ('completed', 'failed') THEN (SELECT at FROM ended) END
      FROM locked l WHERE t.id = l.id
    ), outputs AS (
      INSERT INTO task_outputs (task_id, result, error)
      SELECT id, result, error FROM locked WHERE result IS NOT NULL OR error IS NOT NULL
      ON CONFLICT (task_id) DO UPDATE SET result = EXCLUDED.result, error = EXCLUDED.error
    ), gone AS (
      DELETE FROM dispatch d USING locked l
      WHERE d.id = l.id AND d.kind = l.kind AND l.status IN ('completed', 'failed')
    ), again AS (
      UPDATE dispatch d SET epoch = d.epoch + 1, incarnation = '', gate = NULL,
        look_again_at = clock_timestamp() + make_interval(secs => l.delay)
      FROM locked l WHERE d.id = l.id AND d.kind = l.kind AND l.status NOT IN ('completed', 'failed')
    ), counted AS MATERIALIZED (
      SELECT job_id,
        count(*) FILTER (WHERE kind = 'task' AND status = 'completed')::int AS completed,
        count(*) FILTER (WHERE kind = 'task' AND status = 'failed')::int AS failed,
        COALESCE(sum(100 - progress) FILTER (WHERE kind = 'task' AND status = 'completed'), 0) AS gained,
        COALESCE(bool_or(kind = 'plan' AND status = 'completed'), false) AS planned,
        COALESCE(bool_or(kind = 'plan' AND status = 'failed'), false) AS unplanned,
        -- Nobody can look up the plan among the tasks, so the job's error does not name it.
        (array_agg(CASE WHEN kind = 'plan' THEN error - 'taskId' - 'attempt' ELSE error END ORDER BY id) FILTER (WHERE status = 'failed'))[1] AS error,
        (array_agg(result) FILTER (WHERE kind = 'task' AND status = 'completed'))[1] AS result
      FROM locked GROUP BY job_id
    ), summed AS (
      SELECT j.id, j.generation, j.version + 1 AS version, j.failure_policy, j.finalize, j.exit_hook, j.owner_id, j.type,
        j.labels, j.notify, j.tasks_total,
        j.tasks_completed + c.completed AS completed, j.tasks_failed + c.failed AS failed, j.progress,
        j.progress_sum + c.gained AS progress_sum, j.planning AND NOT c.planned AND NOT c.unplanned AS planning,
        c.unplanned, COALESCE(j.error, c.error) AS error, c.result,
        NOT (j.planning AND NOT c.planned)
          AND j.tasks_completed + c.completed + j.tasks_failed + c.failed + j.tasks_canceled = j.tasks_total AS ended
      FROM j JOIN counted c ON c.job_id = j.id
    ), next AS MATERIALIZED (
      SELECT s.*, CASE
        WHEN unplanned OR (failed > 0 AND (ended OR failure_policy = 'fail-fast')) THEN 'failed'
        WHEN ended AND finalize AND tasks_total > 0 THEN 'finalizing'
        WHEN ended THEN 'completed'
        ELSE 'active' END AS status
      FROM summed s
    ), upj AS (
      UPDATE jobs SET status = n.status, version = n.version, planning = n.planning, tasks_completed = n.completed,
        tasks_failed = n.failed, progress_sum = n.progress_sum, error = n.error,
        progress = CASE WHEN n.status = 'completed' THEN 100
          WHEN n.planning OR n.tasks_total = 0 THEN n.progress
          ELSE GREATEST(n.progress, LEAST(99, n.progress_sum / n.tasks_total)) END,
        outcome = CASE WHEN n.status IN ('completed', 'failed') THEN n.status END,
        finished_at = CASE WHEN n.status IN ('completed', 'failed') THEN (SELECT at FROM ended) END,
        -- Not of a planned job: its only task may have ended long before, its plan being the last to end.
        result = CASE WHEN n.status IN ('completed', 'finalizing') AND n.tasks_total = 1
          AND (SELECT true FROM task_inputs p WHERE p.job_id = n.id AND p.position = -1) IS NULL THEN n.result ELSE jobs.result END
      FROM next n WHERE jobs.id = n.id
      RETURNING jobs.id, jobs.generation, jobs.status, jobs.progress, n.progress AS before
    ), marked AS (
      -- For the live feed; where the job moves on, its own event tells the progress.
      INSERT INTO progress_marks (job_id, generation)
      SELECT id, generation FROM upj WHERE status = 'active' AND progress > before
    ), f AS (
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
      SELECT id, 'finalize', id, '', clock_timestamp() FROM next WHERE status = 'finalizing'
      ON CONFLICT (id, kind) DO UPDATE SET look_again_at = EXCLUDED.look_again_at, epoch = dispatch.epoch + 1
    ), x AS (${openExits(endedIn)}), o AS (${openNotices(endedIn)}), timed AS (
      DELETE FROM dispatch WHERE kind = 'deadline' AND id = ANY(ARRAY(SELECT id FROM next WHERE status <> 'active'))
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, data)
      SELECT n.id, n.generation, n.version, 'tasks.' || l.status, ${actor}, jsonb_build_object('tasks', jsonb_agg(
        jsonb_build_object('id', l.id, 'fence', l.fence, 'attempt', l.attempt, 'worker', l.worker)))
      FROM locked l JOIN next n ON n.id = l.job_id WHERE l.kind = 'task'
      GROUP BY n.id, n.generation, n.version, l.status
    ), ej AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
      SELECT id, generation, version, 'job.' || status, ${actor}, CASE WHEN status = 'failed' THEN error->>'code' END
      FROM next WHERE status <> 'active'
    )
    SELECT m.id::text AS member, s.job_id::text AS "jobId", COALESCE(n.status, (SELECT status FROM jobs WHERE jobs.id = s.job_id)) AS "jobStatus",
      COALESCE(n.status = 'failed', false) AS "jobFailed", COALESCE(l.id IS NOT NULL AND s.counted, false) AS freed,
      CASE WHEN l.id IS NOT NULL THEN 'applied'
        WHEN s.fence = m.fence AND s.status = m.status THEN 'mine-already'
        WHEN s.fence = m.fence AND s.status = 'active' AND (NOT m.expired OR s.lease_until < clock_timestamp())
          AND EXISTS (SELECT FROM jobs WHERE jobs.id = s.job_id AND jobs.status = 'active') THEN 'busy'
        ELSE 'stale' END AS kind
    FROM m LEFT JOIN seen s ON s.id = m.id LEFT JOIN locked l ON l.id = m.id LEFT JOIN next n ON n.id = l.job_id`;
}
