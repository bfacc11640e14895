import type { Sql } from '@app/platform/prisma/database.js';

/** How far the stop of one attempt is: the signal was raised, the handler has ended, or its grace is over. */
export type StopStage = 'delivered' | 'stopped' | 'fenced';

/** Notes in the receipt of a cancel how the attempts of a task took it. The first time of each stage stays. */
export async function noteStop(
  sql: Sql,
  taskIds: string[],
  generation: number,
  stage: StopStage,
): Promise<void> {
  await sql.$executeRaw`
    UPDATE cancel_stops s SET
      delivered_at = COALESCE(s.delivered_at, clock_timestamp()),
      stopped_at = CASE WHEN ${stage} = 'stopped' THEN COALESCE(s.stopped_at, clock_timestamp()) ELSE s.stopped_at END,
      fenced_at = CASE WHEN ${stage} = 'fenced' THEN COALESCE(s.fenced_at, clock_timestamp()) ELSE s.fenced_at END
    FROM tasks t
    WHERE t.id = ANY(${taskIds}::uuid[]) AND s.job_id = t.job_id AND s.generation = ${generation} AND s.task_id = t.id`;
}
