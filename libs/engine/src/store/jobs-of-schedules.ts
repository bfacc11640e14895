import type { JobStatus } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { type CanceledJob, cancelOf } from './cancel-job.js';
import type { DedupeKey } from './dedupe-keys.js';
import { endOpenTasks } from './end-open-tasks.js';
import { givenRows } from './given-rows.js';

/** The states from which a job of a schedule can be canceled; of those, the ones in which it has not begun. */
const CANCELABLE: JobStatus[] = ['scheduled', 'queued', 'active'];
const PENDING: JobStatus[] = ['scheduled', 'queued'];

/** The oldest open job of each schedule that has one. */
export async function openJobsOf(sql: Sql, scheduleIds: string[]): Promise<Map<string, string>> {
  if (scheduleIds.length === 0) return new Map();
  const rows = await sql.$queryRaw<{ scheduleId: string; jobId: string }[]>`
    SELECT s.id::text AS "scheduleId", j.id::text AS "jobId" FROM unnest(${scheduleIds}::uuid[]) AS s(id) CROSS JOIN LATERAL (
      SELECT id FROM jobs WHERE schedule_id = s.id AND schedule_id IS NOT NULL AND finished_at IS NULL ORDER BY id LIMIT 1) j`;
  return new Map(rows.map(({ scheduleId, jobId }) => [scheduleId, jobId]));
}

/**
 * Of schedules whose open jobs are to make room for others: those where that would be in vain, for a key is held by a job
 * that is none of theirs or cannot be canceled.
 */
export async function heldByOthers(
  sql: Sql,
  wanted: { scheduleId: string; dedupe: DedupeKey[] }[],
): Promise<Set<string>> {
  const keys = wanted.flatMap(({ scheduleId, dedupe }) => dedupe.map((key) => ({ ...key, scheduleId })));
  if (keys.length === 0) return new Set();
  const held = await sql.$queryRaw<{ scheduleId: string }[]>`
    SELECT DISTINCT r."scheduleId"::text AS "scheduleId"
    FROM ${givenRows(keys, Prisma.sql`scope text, key text, "scheduleId" uuid`)} r
    JOIN dedupe_keys d ON d.scope = r.scope AND d.key = r.key
    JOIN jobs j ON j.id = d.job_id AND j.generation = d.generation
    WHERE j.finished_at IS NULL
      AND (j.schedule_id IS DISTINCT FROM r."scheduleId" OR j.status <> ALL(${CANCELABLE}::text[]))`;
  return new Set(held.map(({ scheduleId }) => scheduleId));
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
