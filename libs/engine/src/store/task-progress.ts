import type { Json } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { givenRows } from './given-rows.js';

/** How far a running attempt is. */
export interface ProgressMember {
  taskId: string;
  fence: number;
  /** 0-100. */
  percent: number;
  detail?: Json;
}

/**
 * Writes the progress of attempts and rolls it up into their jobs, one row and one version per job. A task keeps
 * the greatest value over its attempts; a job shows at most 99 before it is completed, and 0 while its plan
 * still adds tasks. Each of them leaves a mark for the live feed. Answers the tasks whose job was locked: they are to be
 * written with the next flush.
 */
export async function reportProgress(sql: Sql, members: ProgressMember[]): Promise<Set<string>> {
  const rows = members.map(({ taskId, fence, percent, detail }) => ({ id: taskId, fence, percent, detail }));
  const busy = await sql.$queryRaw<{ id: string }[]>`
    WITH m AS MATERIALIZED (
      SELECT m.*, t.job_id
      FROM ${givenRows(rows, Prisma.sql`id uuid, fence int, percent int, detail jsonb`)} m
      JOIN tasks t ON t.id = m.id
      WHERE t.status = 'active' AND t.fence = m.fence
    ), j AS MATERIALIZED (
      SELECT id, version, planning, progress, progress_sum, tasks_total FROM jobs
      WHERE id IN (SELECT job_id FROM m) AND status = 'active'
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ), locked AS MATERIALIZED (
      SELECT t.id, t.job_id, t.kind, t.progress AS before, GREATEST(t.progress, m.percent) AS after, m.detail
      FROM tasks t JOIN m ON m.id = t.id
      WHERE t.job_id IN (SELECT id FROM j) AND t.status = 'active' AND t.fence = m.fence
      ORDER BY t.id FOR NO KEY UPDATE OF t
    ), up AS (
      UPDATE tasks t SET progress = l.after FROM locked l WHERE t.id = l.id AND l.after > l.before
    ), summed AS (
      SELECT job_id, sum(after - before) FILTER (WHERE kind = 'task') AS gained,
        (array_agg(detail ORDER BY id DESC) FILTER (WHERE detail IS NOT NULL))[1] AS detail
      FROM locked GROUP BY job_id
    ), upj AS (
      UPDATE jobs SET version = jobs.version + 1, progress_sum = jobs.progress_sum + COALESCE(s.gained, 0),
        progress = CASE WHEN j.planning OR j.tasks_total = 0 THEN jobs.progress
          ELSE GREATEST(j.progress, LEAST(99, (j.progress_sum + COALESCE(s.gained, 0)) / j.tasks_total)) END,
        detail = COALESCE(s.detail, jobs.detail)
      FROM j JOIN summed s ON s.job_id = j.id
      WHERE jobs.id = j.id AND (COALESCE(s.gained, 0) > 0 OR s.detail IS NOT NULL)
      RETURNING jobs.id, jobs.generation
    ), marked AS (
      INSERT INTO progress_marks (job_id, generation) SELECT id, generation FROM upj
    )
    SELECT m.id::text AS id FROM m WHERE m.job_id NOT IN (SELECT id FROM j)
      AND EXISTS (SELECT FROM jobs WHERE jobs.id = m.job_id AND jobs.status = 'active')`;
  return new Set(busy.map((row) => row.id));
}

/** Saves where an attempt is. False when the attempt no longer holds its task: nothing was written. */
export async function saveCheckpoint(
  sql: Sql,
  lease: { taskId: string; fence: number },
  checkpoint: Json,
): Promise<boolean> {
  const written = await sql.$executeRaw`
    WITH t AS (
      SELECT id FROM tasks WHERE id = ${lease.taskId}::uuid AND fence = ${lease.fence} AND status = 'active' FOR SHARE
    )
    INSERT INTO task_outputs (task_id, checkpoint) SELECT id, ${JSON.stringify(checkpoint)}::jsonb FROM t
    ON CONFLICT (task_id) DO UPDATE SET checkpoint = EXCLUDED.checkpoint`;
  return written === 1;
}
