import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { isRaceLost } from '@app/platform/prisma/sql-errors.js';

/** Tries of a transaction that keeps losing a race, before its error is let through. */
const TRIES = 5;
const LIMITS = { maxWait: 5000, timeout: 15_000 };
/** Shorter than the client waits for a statement, so that it gets an answer and its connection is of use again. */
const STATEMENT_TIMEOUT_MS = 14_000;

let races = 0;

/** How many transactions were repeated since this was last asked. */
export const raceCount = {
  take(): number {
    const count = races;
    races = 0;
    return count;
  },
};

/** Repeats a transaction that Postgres gave up for a deadlock or a serialization failure: nothing of it happened. */
export async function retryRaces<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (attempt === TRIES || !isRaceLost(error)) throw error;
      races++;
    }
  }
}

/**
 * Lets Postgres end what is left of a transaction whose process is frozen or was cut off: it holds locks until its
 * connection is noticed to be dead, which may take hours. Said in each transaction, for a pooler may lend the
 * connection to somebody else afterwards.
 */
export async function limitTransaction(sql: Sql, idleMs: number): Promise<void> {
  await sql.$executeRaw`
    SELECT set_config('idle_in_transaction_session_timeout', ${String(idleMs)}, true),
      set_config('statement_timeout', ${String(STATEMENT_TIMEOUT_MS)}, true)`;
}

/** Runs statements that must commit together. `run` may be called again, so it keeps no state of its own. */
export function inTransaction<T>(
  client: PrismaClient,
  run: (sql: Sql) => Promise<T>,
  limits = LIMITS,
): Promise<T> {
  return retryRaces(() =>
    client.$transaction(async (sql) => {
      await limitTransaction(sql, limits.timeout);
      return run(sql);
    }, limits),
  );
}
