import type { JobStatus } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { endOpenTasks } from './end-open-tasks.js';
import { openExits } from './exit-hooks.js';

/** A job that was canceled, as the processes that run it are to be told. */
export interface CanceledJob {
  jobId: string;
  generation: number;
}

/** The states from which a job of a schedule can be canceled; of those, the ones in which it has not begun. */
const CANCELABLE: JobStatus[] = ['scheduled', 'queued', 'active'];
const PENDING: JobStatus[] = ['scheduled', 'queued'];

/** The open jobs of schedules, oldest first. */
export async function openJobsOf(sql: Sql, scheduleIds: string[]): Promise<Map<string, string[]>> {
  if (scheduleIds.length === 0) return new Map();
  const rows = await sql.$queryRaw<{ scheduleId: string; jobId: string }[]>`
    SELECT schedule_id::text AS "scheduleId", id::text AS "jobId" FROM jobs
    WHERE schedule_id = ANY(${scheduleIds}::uuid[]) AND schedule_id IS NOT NULL AND finished_at IS NULL
    ORDER BY schedule_id, id`;
  const open = new Map<string, string[]>();
  for (const { scheduleId, jobId } of rows) open.set(scheduleId, [...(open.get(scheduleId) ?? []), jobId]);
  return open;
}

/** Cancels the jobs of a schedule that have not begun. Its row is locked, so that no others come. */
export function dropPending(
  sql: Sql,
  scheduleId: string,
  actor: string,
  reason: string,
): Promise<CanceledJob[]> {
  return cancelJobsOf(sql, [scheduleId], PENDING, actor, reason);
}

/** Cancels all jobs of schedules that can be canceled, to make room for others. */
export function cancelOthers(sql: Sql, scheduleIds: string[], actor: string): Promise<CanceledJob[]> {
  return cancelJobsOf(sql, scheduleIds, CANCELABLE, actor, 'the next slot of its schedule has come');
}

async function cancelJobsOf(
  sql: Sql,
  scheduleIds: string[],
  statuses: JobStatus[],
  actor: string,
  reason: string,
): Promise<CanceledJob[]> {
  if (scheduleIds.length === 0) return [];
  const canceled = await sql.$queryRaw<CanceledJob[]>`
    WITH l AS MATERIALIZED (
      SELECT id FROM jobs
      WHERE schedule_id = ANY(${scheduleIds}::uuid[]) AND schedule_id IS NOT NULL AND finished_at IS NULL
        AND status = ANY(${statuses}::text[])
      ORDER BY id FOR NO KEY UPDATE
    ), j AS (
      UPDATE jobs j SET status = 'canceled', version = j.version + 1, outcome = 'canceled', finished_at = clock_timestamp()
      FROM l WHERE j.id = l.id
      RETURNING j.id, j.generation, j.version, j.exit_hook
    ), c AS (
      INSERT INTO cancellations (job_id, generation, actor, reason) SELECT id, generation, ${actor}, ${reason} FROM j
    ), x AS (${openExits(Prisma.sql`j`)}), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
      SELECT id, generation, version, 'job.canceled', ${actor}, ${reason} FROM j
    )
    SELECT id::text AS "jobId", generation FROM j`;
  if (canceled.length > 0) await endOpenTasks(sql, canceled.map(({ jobId }) => jobId).toSorted(), actor);
  return canceled;
}
