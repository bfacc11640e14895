import type { Sql } from '@app/platform/prisma/database.js';

/** Which of these tasks are canceled, by their ids. Waits for no lock. */
export async function canceledAmong(sql: Sql, taskIds: string[]): Promise<Set<string>> {
  const rows = await sql.$queryRaw<{ id: string }[]>`
    SELECT t.id::text AS id FROM tasks t WHERE t.id = ANY(${taskIds}::uuid[]) AND t.status = 'canceled'`;
  return new Set(rows.map(({ id }) => id));
}
