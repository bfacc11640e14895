import type { JobStatus } from '@app/core';
import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { LOOK_BACK_MS } from './dispatch.js';
import { endOpenTasks } from './end-open-tasks.js';
import { openExits } from './exit-hooks.js';
import { inTransaction } from './in-transaction.js';
import { openNotices } from './outbox.js';

/** How long a row is left to the sweeper that took it. */
const SWEEP_LEASE_MS = 5000;

/** A job of which a time has come: it is due, or one of its deadlines has passed. */
export interface DueJob {
  jobId: string;
  kind: 'start' | 'deadline';
}

/** Takes the jobs of which a time has come, by moving the time on. Commits before their rows are locked. */
export async function takeDueJobs(sql: Sql, limit: number, backMs = LOOK_BACK_MS.all): Promise<DueJob[]> {
  return sql.$queryRaw<DueJob[]>`
    WITH due AS MATERIALIZED (
      SELECT id, kind FROM dispatch
      WHERE look_again_at <= statement_timestamp() AND kind IN ('start', 'deadline')
        AND look_again_at > statement_timestamp() - make_interval(secs => ${backMs / 1000}::float8)
      ORDER BY look_again_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    UPDATE dispatch d SET look_again_at = clock_timestamp() + make_interval(secs => ${SWEEP_LEASE_MS / 1000}::float8)
    FROM due WHERE d.id = due.id AND d.kind = due.kind
    RETURNING d.id::text AS "jobId", d.kind`;
}

/**
 * Queues scheduled jobs that are due: their tasks get their dispatch rows only now. A job that was moved to a later
 * time meanwhile is left alone. Answers how many tasks wait to be admitted now.
 */
export async function startDueJobs(sql: Sql, jobIds: string[]): Promise<number> {
  return sql.$executeRaw`
    WITH j AS (
      UPDATE jobs j SET status = 'queued', version = j.version + 1
      FROM (
        SELECT id FROM jobs
        WHERE id = ANY(${jobIds}::uuid[]) AND status = 'scheduled' AND run_at <= clock_timestamp()
        ORDER BY id FOR NO KEY UPDATE
      ) l WHERE j.id = l.id
      RETURNING j.id, j.generation, j.version, j.queue, j.owner_id, j.type, j.rank
    ), gone AS (
      DELETE FROM dispatch WHERE kind = 'start' AND id = ANY(ARRAY(SELECT id FROM j))
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor)
      SELECT id, generation, version, 'job.queued', 'sweeper' FROM j
    )
    INSERT INTO dispatch (id, kind, job_id, queue, look_again_at, gate, owner_id, type, rank)
    SELECT t.id, t.kind, j.id, j.queue, 'infinity', 'held', j.owner_id, j.type, j.rank
    FROM j JOIN task_inputs i ON i.job_id = j.id JOIN tasks t ON t.id = i.task_id`;
}

/** A job that a deadline has ended. */
export interface ExpiredJob {
  jobId: string;
  generation: number;
}

/** Fails jobs that have not begun in time, or run for too long. A deadline that has lost its meaning is forgotten. */
export async function failOverdueJobs(client: PrismaClient, jobIds: string[]): Promise<ExpiredJob[]> {
  return inTransaction(client, async (sql) => {
    const failed = await sql.$queryRaw<ExpiredJob[]>`
      WITH l AS MATERIALIZED (
        SELECT id, status FROM jobs
        WHERE id = ANY(${jobIds}::uuid[]) AND (
          (status IN ('scheduled', 'queued') AND expires_at <= clock_timestamp())
          OR (status = 'active' AND started_at + make_interval(secs => max_runtime_ms / 1000.0) <= clock_timestamp()))
        ORDER BY id FOR NO KEY UPDATE
      ), j AS (
        UPDATE jobs j SET status = 'failed', outcome = 'failed', version = j.version + 1, finished_at = clock_timestamp(),
          error = CASE WHEN l.status = 'active'
            THEN jsonb_build_object('code', 'timeout', 'message', 'The job ran longer than it may.')
            ELSE jsonb_build_object('code', 'missed_deadline', 'message', 'The job had not begun when it expired.') END
        FROM l WHERE j.id = l.id
        RETURNING j.id, j.generation, j.version, j.error->>'code' AS code, j.exit_hook,
          j.status, j.error, j.finished_at, j.owner_id, j.type, j.labels, j.notify
      ), x AS (${openExits(Prisma.sql`j`)}), o AS (${openNotices(Prisma.sql`j`)}), e AS (
        INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
        SELECT id, generation, version, 'job.failed', 'sweeper', code FROM j
      ), gone AS (
        DELETE FROM dispatch d USING jobs x
        WHERE d.id = ANY(${jobIds}::uuid[]) AND d.kind = 'deadline' AND x.id = d.id
          AND (x.finished_at IS NOT NULL OR (x.status = 'active' AND x.max_runtime_ms IS NULL) OR x.status = 'finalizing')
      )
      SELECT id::text AS "jobId", generation FROM j`;
    if (failed.length > 0) {
      await endOpenTasks(sql, failed.map((job) => job.jobId).toSorted(), 'sweeper');
    }
    return failed;
  });
}

/** What became of a change of a job's time. */
export type Reschedule =
  | { kind: 'rescheduled' }
  | { kind: 'refused'; status: JobStatus }
  /** The job expires at the new time, or before. */
  | { kind: 'expires-before' };

/** Moves a scheduled job to another time: the old one does not fire any more. Undefined: no such job of the owner. */
export async function rescheduleJob(
  client: PrismaClient,
  ownerId: string,
  jobId: string,
  runAt: Date,
  actor: string,
): Promise<Reschedule | undefined> {
  return inTransaction(client, async (sql) => {
    const moved = await sql.$executeRaw`
      WITH j AS (
        UPDATE jobs SET run_at = ${runAt}::timestamptz, version = version + 1,
          rank = rank + extract(epoch FROM ${runAt}::timestamptz - run_at)
        WHERE id = ${jobId}::uuid AND owner_id = ${ownerId} AND status = 'scheduled'
          AND (expires_at IS NULL OR expires_at > ${runAt}::timestamptz)
        RETURNING id, generation, version
      ), e AS (
        INSERT INTO job_events (job_id, generation, version, kind, actor)
        SELECT id, generation, version, 'job.rescheduled', ${actor} FROM j
      )
      UPDATE dispatch SET look_again_at = ${runAt}::timestamptz WHERE kind = 'start' AND id = ANY(ARRAY(SELECT id FROM j))`;
    if (moved === 1) return { kind: 'rescheduled' };
    const [job] = await sql.$queryRaw<{ status: JobStatus; expires: boolean }[]>`
      SELECT status, COALESCE(expires_at <= ${runAt}::timestamptz, false) AS expires
      FROM jobs WHERE id = ${jobId}::uuid AND owner_id = ${ownerId}`;
    if (job?.status === 'scheduled' && job.expires) return { kind: 'expires-before' };
    return job && { kind: 'refused', status: job.status };
  });
}

/** Rows that are due and locked by others must not make a sweeper spin. */
const LEAST_PAUSE_MS = 10;

/** Milliseconds until the next time of anything, at most `most`. */
export async function untilNextDue(sql: Sql, most: number): Promise<number> {
  const [next] = await sql.$queryRaw<{ ms: number | null }[]>`
    SELECT (extract(epoch FROM look_again_at - clock_timestamp()) * 1000)::float8 AS ms
    FROM dispatch
    WHERE kind NOT IN ('finalize', 'exit') AND look_again_at > statement_timestamp() - make_interval(secs => ${LOOK_BACK_MS.short / 1000}::float8)
    ORDER BY look_again_at LIMIT 1`;
  return Math.max(LEAST_PAUSE_MS, Math.min(most, next?.ms ?? most));
}
