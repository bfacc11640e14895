import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { isRaceLost } from '@app/platform/prisma/sql-errors.js';

/** Tries of a transaction that keeps losing a race, before its error is let through. */
const TRIES = 5;
const LIMITS = { maxWait: 5000, timeout: 15_000 };

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

/** Runs statements that must commit together. `run` may be called again, so it keeps no state of its own. */
export function inTransaction<T>(client: PrismaClient, run: (sql: Sql) => Promise<T>): Promise<T> {
  return retryRaces(() => client.$transaction(run, LIMITS));
}
