import type { Sql } from '@app/platform/prisma/database.js';

/** A running attempt. */
export interface Lease {
  taskId: string;
  fence: number;
}

/** `lost`: another claim or an end that is no cancel. `busy`: the row was locked; the lease is as it was. */
export type Renewal = 'renewed' | 'lost' | 'canceled' | 'busy';

/**
 * Renews all leases of a worker in one statement and tells what became of each: also how a cancel is learned of
 * whose message was lost, and how others learn what the worker runs. Waits for no lock.
 */
export async function renewLeases(
  sql: Sql,
  worker: string,
  leases: Lease[],
  leaseMs: number,
): Promise<Map<string, Renewal>> {
  const ids = leases.map((lease) => lease.taskId);
  const fences = leases.map((lease) => lease.fence);
  const rows = await sql.$queryRaw<{ id: string; renewal: Renewal }[]>`
    WITH m AS MATERIALIZED (
      SELECT * FROM unnest(${ids}::uuid[], ${fences}::int[]) AS m(id, fence)
    ), w AS (
      UPDATE workers SET seen_at = clock_timestamp(), running = ${ids}::uuid[] WHERE id = ${worker}::uuid
    ), locked AS MATERIALIZED (
      SELECT t.id FROM tasks t JOIN m ON m.id = t.id
      WHERE t.status = 'active' AND t.fence = m.fence
      ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    ), renewed AS (
      UPDATE tasks t SET lease_until = clock_timestamp() + make_interval(secs => ${leaseMs / 1000}::float8)
      FROM locked l WHERE t.id = l.id
      RETURNING t.id
    )
    SELECT m.id::text AS id,
      CASE WHEN r.id IS NOT NULL THEN 'renewed'
           WHEN t.status = 'canceled' THEN 'canceled'
           WHEN t.status = 'active' AND t.fence = m.fence THEN 'busy'
           ELSE 'lost' END AS renewal
    FROM m LEFT JOIN tasks t ON t.id = m.id LEFT JOIN renewed r ON r.id = m.id`;
  return new Map(rows.map((row) => [row.id, row.renewal]));
}
