import { ListTooWideError } from '@app/core';
import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { isTimeLimit } from '@app/platform/prisma/sql-errors.js';

/** Milliseconds that a list may take for which Postgres may have to look at any number of rows. */
const MOST_MS = 2000;

/**
 * Reads a list that may be long in coming; Postgres gives it up after two seconds. The limit is of the transaction alone, for
 * a pooler may lend the connection to somebody else afterwards.
 * @throws {ListTooWideError}
 */
export async function withinTime<T>(client: PrismaClient, read: (sql: Sql) => Promise<T>): Promise<T> {
  try {
    return await client.$transaction(
      async (sql) => {
        await sql.$executeRaw`SELECT set_config('statement_timeout', ${String(MOST_MS)}, true)`;
        return read(sql);
      },
      { maxWait: 5000, timeout: 15_000 },
    );
  } catch (error) {
    if (isTimeLimit(error)) throw new ListTooWideError();
    throw error;
  }
}
