import type { Sql } from '@app/platform/prisma/database.js';
import type { Delivery } from './dispatch.js';

/** What there is to send of a job whose transaction was open when it was written; undefined as long as it is. */
export async function findCommitted(sql: Sql, jobId: string): Promise<Delivery[] | undefined> {
  const rows = await sql.$queryRaw<(Delivery | { taskId: null })[]>`
    SELECT d.id::text AS "taskId", d.kind, d.queue, d.epoch
    FROM jobs j LEFT JOIN task_inputs i ON i.job_id = j.id
      LEFT JOIN dispatch d ON d.id = i.task_id AND d.kind IN ('task', 'plan')
    WHERE j.id = ${jobId}::uuid`;
  if (rows.length === 0) return undefined;
  return rows.filter((row): row is Delivery => row.taskId !== null);
}
