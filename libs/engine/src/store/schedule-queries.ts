import type { Schedule, SlotOutcome, SlotRecord } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { SCHEDULE_COLUMNS, type ScheduleRow, toSchedule } from './schedule-rows.js';

/** Where a page of schedules goes on. */
export interface ScheduleCursor {
  createdAt: Date;
  scheduleId: string;
}

/** Which rows of a ledger are listed, the latest slots first. */
export interface SlotFilter {
  outcomes?: SlotOutcome[];
  /** Slots at this time or later. */
  from?: Date;
  /** Slots before this time. */
  to?: Date;
}

/** One schedule, or undefined when the owner has none of that id. */
export async function findSchedule(
  sql: Sql,
  ownerId: string,
  scheduleId: string,
): Promise<Schedule | undefined> {
  const [row] = await sql.$queryRaw<ScheduleRow[]>`
    SELECT ${SCHEDULE_COLUMNS} FROM schedules s WHERE s.id = ${scheduleId}::uuid AND s.owner_id = ${ownerId}`;
  return row && toSchedule(row);
}

/** The schedules of an owner, newest first. */
export async function pageOfSchedules(
  sql: Sql,
  ownerId: string,
  limit: number,
  after?: ScheduleCursor,
): Promise<Schedule[]> {
  const from = after
    ? Prisma.sql`AND (s.created_at, s.id) < (${after.createdAt}::timestamptz, ${after.scheduleId}::uuid)`
    : Prisma.empty;
  const rows = await sql.$queryRaw<ScheduleRow[]>`
    SELECT ${SCHEDULE_COLUMNS} FROM schedules s WHERE s.owner_id = ${ownerId} ${from}
    ORDER BY s.created_at DESC, s.id DESC LIMIT ${limit}`;
  return rows.map(toSchedule);
}

/** Whose a schedule is; undefined when there is none of that id. */
export async function ownerOfSchedule(sql: Sql, scheduleId: string): Promise<string | undefined> {
  const rows = await sql.$queryRaw<{ ownerId: string }[]>`
    SELECT owner_id AS "ownerId" FROM schedules WHERE id = ${scheduleId}::uuid`;
  return rows[0]?.ownerId;
}

/** The ledger of a schedule, the latest slots first. Undefined when the owner has no such schedule. */
export async function pageOfSlots(
  sql: Sql,
  ownerId: string,
  scheduleId: string,
  limit: number,
  filter: SlotFilter,
  before?: Date,
): Promise<SlotRecord[] | undefined> {
  if ((await ownerOfSchedule(sql, scheduleId)) !== ownerId) return undefined;
  return sql.$queryRaw<SlotRecord[]>`
    SELECT x.slot, x.until, x.count, x.outcome, x.triggered_by AS "triggeredBy", x.job_id::text AS "jobId", j.status AS "jobStatus",
      x.blocked_by::text AS "blockedBy", x.note, x.decided_at AS "decidedAt"
    FROM (${slotsStatement(scheduleId, limit, filter, before)}) x
      LEFT JOIN jobs j ON j.id = x.job_id AND j.owner_id = ${ownerId}
    ORDER BY x.slot DESC LIMIT ${limit}`;
}

/** The rows of one page of a ledger, each found by a key: as many as are listed, and `limit` of each outcome at most. */
export function slotsStatement(
  scheduleId: string,
  limit: number,
  { outcomes, from, to }: SlotFilter,
  before?: Date,
): Prisma.Sql {
  const ofIt = Prisma.sql`x.schedule_id = ${scheduleId}::uuid`;
  const ends = [to, before].flatMap((end) => (end ? [Prisma.sql`AND x.slot < ${end}::timestamptz`] : []));
  const until = ends.length === 0 ? Prisma.empty : Prisma.join(ends, ' ');
  const since = from ? Prisma.sql`AND x.slot >= ${from}::timestamptz` : Prisma.empty;
  const page = Prisma.sql`${until} ${since} ORDER BY x.slot DESC LIMIT ${limit}`;
  const within = outcomes
    ? Prisma.sql`
      SELECT r.* FROM unnest(${outcomes}::text[]) AS o(outcome) CROSS JOIN LATERAL (
        SELECT x.* FROM schedule_slots x WHERE ${ofIt} AND x.outcome = o.outcome ${page}) r`
    : Prisma.sql`(SELECT x.* FROM schedule_slots x WHERE ${ofIt} ${page})`;
  if (!from) return within;
  const listed = outcomes ? Prisma.sql`AND r.outcome = ANY(${outcomes}::text[])` : Prisma.empty;
  // Stretches of one schedule do not overlap: only the last one before the time can reach into it.
  return Prisma.sql`
    ${within} UNION ALL
    SELECT r.* FROM (
      SELECT x.* FROM schedule_slots x
      WHERE ${ofIt} AND x.until IS NOT NULL AND x.slot < ${from}::timestamptz ${until}
      ORDER BY x.slot DESC LIMIT 1) r
    WHERE r.until >= ${from}::timestamptz ${listed}`;
}

/** What is told of schedules as a whole. */
export async function countDueSchedules(sql: Sql): Promise<{ due: number; lateSeconds: number }> {
  const [counted] = await sql.$queryRaw<{ due: number; lateSeconds: number }[]>`
    SELECT count(*)::int AS due, COALESCE(extract(epoch FROM clock_timestamp() - min(next_at)), 0)::float8 AS "lateSeconds"
    FROM schedules WHERE next_at <= statement_timestamp() AND next_at IS NOT NULL`;
  return counted ?? { due: 0, lateSeconds: 0 };
}
