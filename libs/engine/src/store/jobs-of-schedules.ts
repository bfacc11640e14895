import type { JobStatus } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { type CanceledJob, cancelOf } from './cancel-job.js';
import { endOpenTasks } from './end-open-tasks.js';

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
  const locked = Prisma.sql`
    SELECT id FROM jobs
    WHERE schedule_id = ANY(${scheduleIds}::uuid[]) AND schedule_id IS NOT NULL AND finished_at IS NULL
      AND status = ANY(${statuses}::text[])
    ORDER BY id FOR NO KEY UPDATE`;
  const canceled = await sql.$queryRaw<CanceledJob[]>(cancelOf(locked, actor, reason));
  if (canceled.length > 0) await endOpenTasks(sql, canceled.map(({ jobId }) => jobId).toSorted(), actor);
  return canceled;
}
