import type { Sql } from '@app/platform/prisma/database.js';

/** How far the stop of one attempt is: the signal was raised, the handler has ended, or its grace is over. */
export type StopStage = 'delivered' | 'stopped' | 'fenced';

/** A stage that an attempt's stop has reached, in the generation of the job that was canceled. */
export interface StopNote {
  taskId: string;
  generation: number;
  stage: StopStage;
}

/** Notes in the receipts of cancels how running attempts took them. The first time of each stage stays. */
export async function noteStops(sql: Sql, notes: StopNote[]): Promise<void> {
  const ids = notes.map((note) => note.taskId);
  const generations = notes.map((note) => note.generation);
  const stages = notes.map((note) => note.stage);
  await sql.$executeRaw`
    UPDATE cancel_stops s SET
      delivered_at = COALESCE(s.delivered_at, clock_timestamp()),
      stopped_at = CASE WHEN l.stopped THEN COALESCE(s.stopped_at, clock_timestamp()) ELSE s.stopped_at END,
      fenced_at = CASE WHEN l.fenced THEN COALESCE(s.fenced_at, clock_timestamp()) ELSE s.fenced_at END
    FROM (
      SELECT m.id, t.job_id, m.generation, bool_or(m.stage = 'stopped') AS stopped, bool_or(m.stage = 'fenced') AS fenced
      FROM unnest(${ids}::uuid[], ${generations}::int[], ${stages}::text[]) AS m(id, generation, stage)
      JOIN tasks t ON t.id = m.id
      GROUP BY m.id, t.job_id, m.generation
    ) l
    WHERE s.job_id = l.job_id AND s.generation = l.generation AND s.task_id = l.id`;
}

/**
 * Notes in the receipts of cancels what no worker is there to note any more: the attempt of a worker that has stopped,
 * or has given no sign for so long, is fenced since the cancel, and nothing of it will be heard.
 */
export async function fenceLostStops(sql: Sql, silentMs: number): Promise<number> {
  return sql.$executeRaw`
    UPDATE cancel_stops s SET fenced_at = clock_timestamp()
    FROM (
      SELECT s.job_id, s.generation, s.task_id FROM cancel_stops s LEFT JOIN workers w ON w.id = s.worker
      WHERE s.stopped_at IS NULL AND s.fenced_at IS NULL AND (w.id IS NULL OR w.stopped_at IS NOT NULL
        OR w.seen_at < statement_timestamp() - make_interval(secs => ${silentMs / 1000}::float8))
      ORDER BY s.job_id, s.generation, s.task_id FOR UPDATE OF s SKIP LOCKED
    ) l
    WHERE s.job_id = l.job_id AND s.generation = l.generation AND s.task_id = l.task_id`;
}
