import { Prisma } from '@app/platform/prisma/database.js';

/**
 * Rows of a parameter as a source in a FROM, for statements that look up rows of tables by them. Postgres takes a set of
 * records for 100 rows, and a limit that it does not know for a tenth of that. Of so few it looks each up by the index,
 * whatever the table is like when the plan is made; of more it may read all of a table that was small then, and goes on
 * to do so when it has grown.
 * @param columns names and types, as `id uuid, fence int`
 */
export const givenRows = (rows: readonly object[], columns: Prisma.Sql): Prisma.Sql => Prisma.sql`
  (SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS given(${columns}) LIMIT ${rows.length})`;
