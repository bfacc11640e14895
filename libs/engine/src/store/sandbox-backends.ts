import type { Transaction } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';

/** How Postgres knows the transactions of an attempt that runs in a process of its own; 63 characters at most. */
function nameOf({ taskId, fence }: { taskId: string; fence: number }): string {
  return `longhaul ${taskId} ${fence}`;
}

/** Gives a transaction the name of its attempt. It loses it with its end, before a pooler lends its connection on. */
export async function nameBackend(
  tx: Transaction,
  attempt: { taskId: string; fence: number },
): Promise<void> {
  await tx.query(`SELECT set_config('application_name', $1, true)`, nameOf(attempt));
}

/**
 * Ends the transactions that an attempt has left open: its process is gone, but a statement that Postgres is at goes
 * on, with its locks, and nobody waits for it. Answers how many there were.
 */
export async function endBackends(sql: Sql, attempt: { taskId: string; fence: number }): Promise<number> {
  const ended = await sql.$queryRaw<unknown[]>`
    SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = ${nameOf(attempt)}`;
  return ended.length;
}
