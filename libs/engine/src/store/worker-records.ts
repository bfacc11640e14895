import type { Sql } from '@app/platform/prisma/database.js';

/** Makes a worker process known. */
export async function registerWorker(
  sql: Sql,
  worker: { id: string; host: string; pid: number; queues: string[]; slots: number },
): Promise<void> {
  await sql.$executeRaw`
    INSERT INTO workers (id, host, pid, queues, slots)
    VALUES (${worker.id}::uuid, ${worker.host}, ${worker.pid}, ${worker.queues}::text[], ${worker.slots})
    ON CONFLICT (id) DO NOTHING`;
}

/** Notes that a worker process has stopped of its own will. */
export async function retireWorker(sql: Sql, id: string): Promise<void> {
  await sql.$executeRaw`UPDATE workers SET stopped_at = clock_timestamp() WHERE id = ${id}::uuid`;
}
