import type { PrismaClient } from '@app/platform/prisma/database.js';
import { createSchedule, drop, redefine } from './change-schedules.js';
import { inTransaction } from './in-transaction.js';
import type { CanceledJob } from './cancel-job.js';
import { SCHEDULE_COLUMNS, type ScheduleRow, type ScheduleRule } from './schedule-rows.js';

/** A schedule that a job type declares. */
export interface Declaration {
  ownerId: string;
  rule: ScheduleRule;
  /** Of the declaration as it was written. */
  hash: string;
}

/** What became of the declarations of a process. */
export interface Declared {
  changed: string[];
  retired: string[];
  /** Names that an owner has given to a schedule of their own. */
  taken: string[];
  canceled: CanceledJob[];
}

/**
 * Makes the declared schedules those that the code of this process declares: new ones are made, changed ones are
 * changed, and those that it lacks are retired, so that they fire no more. What is as it was is not touched, and a pause
 * stays whatever else changes. The process that says it last is right.
 */
export async function declareSchedules(
  client: PrismaClient,
  declarations: Declaration[],
  actor: string,
): Promise<Declared> {
  const wanted = new Map(declarations.map((one) => [nameOf(one.ownerId, one.rule.name), one]));
  const missing = await inTransaction(client, async (sql) => {
    const names = declarations.map(({ rule }) => rule.name);
    const rows = await sql.$queryRaw<{ ownerId: string; name: string }[]>`
      SELECT owner_id AS "ownerId", name FROM schedules WHERE name = ANY(${names}::text[])`;
    const known = new Set(rows.map(({ ownerId, name }) => nameOf(ownerId, name)));
    return [...wanted].filter(([name]) => !known.has(name)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  });
  for (const [, { ownerId, rule, hash }] of missing) {
    // Another process may have made it meanwhile; then it is looked at with the others.
    await createSchedule(client, ownerId, rule, actor, { declared: hash }).catch((error: Error) => {
      if (error.name !== 'DuplicateScheduleError') throw error;
    });
  }
  return inTransaction(client, async (sql) => {
    const owners = declarations.map(({ ownerId }) => ownerId);
    const names = declarations.map(({ rule }) => rule.name);
    const rows = await sql.$queryRaw<ScheduleRow[]>`
      SELECT ${SCHEDULE_COLUMNS} FROM schedules s
      WHERE s.declared IS NOT NULL
        OR (s.owner_id, s.name) IN (SELECT * FROM unnest(${owners}::text[], ${names}::text[]))
      ORDER BY s.id FOR NO KEY UPDATE`;
    const done: Declared = {
      changed: missing.map(([, { rule }]) => rule.name),
      retired: [],
      taken: [],
      canceled: [],
    };
    for (const row of rows) {
      const one = wanted.get(nameOf(row.ownerId, row.name));
      if (row.declared === null) done.taken.push(row.name);
      else if (one && (one.hash !== row.declared || row.retiredAt)) {
        done.canceled.push(...(await redefine(sql, row, one.rule, actor, one.hash)).canceled);
        done.changed.push(row.name);
      } else if (!one && !row.retiredAt) {
        done.canceled.push(...(await drop(sql, row, actor, 'no job type declares the schedule any more')));
        await sql.$executeRaw`
          UPDATE schedules SET retired_at = clock_timestamp(), next_slot = NULL, next_at = NULL, queued_slot = NULL,
            version = version + 1, updated_at = clock_timestamp()
          WHERE id = ${row.scheduleId}::uuid`;
        done.retired.push(row.name);
      }
    }
    return done;
  });
}

function nameOf(ownerId: string, name: string): string {
  return JSON.stringify([ownerId, name]);
}
