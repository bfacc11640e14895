import type { Sql } from '@app/platform/prisma/database.js';

/** How much of a queue is open. */
export interface QueueDepth {
  queue: string;
  /** Tasks that wait for a worker, now or after a delay. */
  waiting: number;
  active: number;
  /** How long the oldest waiting task that is due has waited, in seconds. */
  oldestSeconds: number;
}

/** Depth and age of every queue that has open work, from the rows: a lost Redis does not make it empty. */
export async function queueDepths(sql: Sql): Promise<QueueDepth[]> {
  return sql.$queryRaw<QueueDepth[]>`
    SELECT d.queue, count(*) FILTER (WHERE t.status <> 'active')::int AS waiting,
      count(*) FILTER (WHERE t.status = 'active')::int AS active,
      COALESCE(max(extract(epoch FROM clock_timestamp() - COALESCE(j.run_at, j.created_at)))
        FILTER (WHERE t.status IN ('queued', 'paused')), 0)::float8 AS "oldestSeconds"
    FROM dispatch d JOIN tasks t ON t.id = d.id JOIN jobs j ON j.id = d.job_id
    WHERE d.kind IN ('task', 'plan')
    GROUP BY d.queue`;
}

/** How late the latest look at due work is, in seconds: near zero while the sweepers keep up. */
export async function sweepLag(sql: Sql): Promise<number> {
  const [row] = await sql.$queryRaw<{ lag: number | null }[]>`
    SELECT extract(epoch FROM clock_timestamp() - min(look_again_at))::float8 AS lag FROM dispatch WHERE kind NOT IN ('finalize', 'exit')`;
  return Math.max(0, row?.lag ?? 0);
}
