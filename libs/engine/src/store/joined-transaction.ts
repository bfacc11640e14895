import { Prisma, type Sql } from '@app/platform/prisma/database.js';

/**
 * An open transaction of the caller, as the clients that Prisma generates give it: whichever schema they are of, our
 * statements run in it as texts with their values, $1, $2, …
 */
export interface JoinedTransaction {
  $queryRawUnsafe<T>(query: string, ...values: unknown[]): Promise<T>;
}

/** Lets the statements of the store run in a transaction of the caller. */
export function inside(tx: JoinedTransaction): Pick<Sql, '$queryRaw'> {
  return {
    $queryRaw: ((strings: TemplateStringsArray, ...values: unknown[]) => {
      const { text, values: bound } = Prisma.sql(strings, ...values);
      return tx.$queryRawUnsafe(text, ...bound);
    }) as Sql['$queryRaw'],
  };
}
