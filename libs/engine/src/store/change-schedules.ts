import {
  cleanText,
  DeclaredScheduleError,
  DuplicateScheduleError,
  QuotaExceededError,
  stretch,
} from '@app/core';
import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { isBadData } from '@app/platform/prisma/sql-errors.js';
import { inTransaction } from './in-transaction.js';
import type { CanceledJob } from './cancel-job.js';
import { dropPending } from './jobs-of-schedules.js';
import { newId } from './new-id.js';
import {
  readableSlotsOf,
  SCHEDULE_COLUMNS,
  type ScheduleRow,
  type ScheduleRule,
  slotsOf,
} from './schedule-rows.js';
import { writeSlots } from './slot-ledger.js';
import { nextColumns } from './tick-schedules.js';

/** A schedule after a change, and the jobs that the change has canceled. */
export interface ScheduleChange {
  row: ScheduleRow;
  canceled: CanceledJob[];
}

/** The row of an owner's schedule, locked. Whatever fires, changes, pauses or deletes it takes this lock first. */
export async function lockSchedule(
  sql: Sql,
  ownerId: string,
  scheduleId: string,
): Promise<ScheduleRow | undefined> {
  const [row] = await sql.$queryRaw<ScheduleRow[]>`
    SELECT ${SCHEDULE_COLUMNS} FROM schedules s
    WHERE s.id = ${scheduleId}::uuid AND s.owner_id = ${ownerId} FOR NO KEY UPDATE`;
  return row;
}

/**
 * Makes a schedule, whose slots begin after now.
 * @param options.declared of a schedule that a job type declares: a hash of the declaration
 * @param options.most how many the owner may have
 * @throws {DuplicateScheduleError} when the owner has another one of this name; {QuotaExceededError}
 */
export async function createSchedule(
  client: PrismaClient,
  ownerId: string,
  rule: ScheduleRule,
  actor: string,
  { declared = null, most }: { declared?: string | null; most?: number } = {},
): Promise<ScheduleRow> {
  return inTransaction(client, async (sql) => {
    if (most !== undefined) await limitSchedules(sql, ownerId, most);
    const scheduleId = newId();
    const written = await sql.$executeRaw`
      INSERT INTO schedules (id, owner_id, created_by, anchor, declared, ${COLUMNS})
      SELECT ${scheduleId}::uuid, ${ownerId}, ${actor}, COALESCE(r.start_at, date_trunc('milliseconds', clock_timestamp())),
        ${declared}, ${VALUES} FROM ${ruleRows(rule)}
      ON CONFLICT (owner_id, name) DO NOTHING`;
    if (written === 0) throw new DuplicateScheduleError();
    const row = (await lockSchedule(sql, ownerId, scheduleId)) as ScheduleRow;
    await writeNext(sql, row, slotsOf(row).next(row.now));
    return (await lockSchedule(sql, ownerId, scheduleId)) as ScheduleRow;
  });
}

/** Lets nobody else make one of the owner's meanwhile: they are counted one after another. */
async function limitSchedules(sql: Sql, ownerId: string, most: number): Promise<void> {
  await sql.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`schedules ${ownerId}`}, 0))`;
  const [counted] = await sql.$queryRaw<{ count: number }[]>`
    SELECT count(*)::int AS count FROM (SELECT FROM schedules WHERE owner_id = ${ownerId} LIMIT ${most}) s`;
  if ((counted?.count ?? 0) >= most) throw new QuotaExceededError('schedules', most);
}

/**
 * Changes a schedule. Where its slots or its jobs become others, those that wait are dropped, its jobs that have not begun
 * are canceled, and those that run go on. A pause stays. Undefined when the owner has no such schedule.
 * @throws {DuplicateScheduleError} when the owner has another one of the new name; {DeclaredScheduleError}
 */
export async function changeSchedule(
  client: PrismaClient,
  ownerId: string,
  scheduleId: string,
  change: (row: ScheduleRow) => Promise<ScheduleRule>,
  actor: string,
): Promise<ScheduleChange | undefined> {
  try {
    return await inTransaction(client, async (sql) => {
      const row = await lockSchedule(sql, ownerId, scheduleId);
      if (!row) return undefined;
      if (row.declared !== null) throw new DeclaredScheduleError();
      return redefine(sql, row, await change(row), actor, null);
    });
  } catch (error) {
    // Nothing else about the columns can be wrong: the name was taken.
    if (isBadData(error)) throw new DuplicateScheduleError();
    throw error;
  }
}

/** Writes another rule to a row that is locked. */
export async function redefine(
  sql: Sql,
  row: ScheduleRow,
  rule: ScheduleRule,
  actor: string,
  declared: string | null,
): Promise<ScheduleChange> {
  const moved = definitionOf(row) !== definitionOf(rule) || row.retiredAt !== null;
  const canceled = moved ? await drop(sql, row, actor, 'the schedule was changed') : [];
  await sql.$executeRaw`
    UPDATE schedules s SET (${COLUMNS}) = (SELECT ${VALUES} FROM ${ruleRows(rule)}), declared = ${declared}, retired_at = NULL,
      version = s.version + 1, updated_at = clock_timestamp()
    WHERE s.id = ${row.scheduleId}::uuid`;
  if (moved) {
    await sql.$executeRaw`
      UPDATE schedules s SET queued_slot = NULL, anchor = COALESCE(s.start_at, date_trunc('milliseconds', clock_timestamp()))
      WHERE s.id = ${row.scheduleId}::uuid`;
  }
  const changed = (await lockSchedule(sql, row.ownerId, row.scheduleId)) as ScheduleRow;
  const ended = changed.maxRuns !== null && changed.runs >= changed.maxRuns;
  const stays = !moved && row.nextSlot ? { at: row.nextSlot } : undefined;
  await writeNext(sql, changed, ended ? undefined : (stays ?? slotsOf(changed).next(changed.now)));
  return { row: (await lockSchedule(sql, row.ownerId, row.scheduleId)) as ScheduleRow, canceled };
}

/**
 * Deletes a schedule: nothing of it fires from the commit on, and its jobs that have not begun are canceled. Its ledger
 * is forgotten in its time. Undefined when the owner has no such schedule.
 * @throws {DeclaredScheduleError}
 */
export async function deleteSchedule(
  client: PrismaClient,
  ownerId: string,
  scheduleId: string,
  actor: string,
): Promise<ScheduleChange | undefined> {
  return inTransaction(client, async (sql) => {
    const row = await lockSchedule(sql, ownerId, scheduleId);
    if (!row) return undefined;
    if (row.declared !== null && row.retiredAt === null) throw new DeclaredScheduleError();
    const canceled = await dropPending(sql, scheduleId, actor, 'the schedule was deleted');
    await sql.$executeRaw`DELETE FROM schedules WHERE id = ${scheduleId}::uuid`;
    return { row, canceled };
  });
}

/** Takes back what waits of a row that is locked: slots of which nothing was decided, and jobs that have not begun. */
export async function drop(
  sql: Sql,
  row: ScheduleRow,
  actor: string,
  reason: string,
): Promise<CanceledJob[]> {
  const { scheduleId, nextSlot, queuedSlot, now } = row;
  const slots = nextSlot && readOrNone(row);
  const due = slots ? stretch(slots, nextSlot, now, row.pausedAt ? 'skipped-paused' : 'missed') : [];
  await writeSlots(sql, [
    ...due.map((rows) => ({ scheduleId, ...rows, note: reason })),
    ...(queuedSlot ? [{ scheduleId, slot: queuedSlot, outcome: 'missed' as const, note: reason }] : []),
  ]);
  return dropPending(sql, scheduleId, actor, reason);
}

/** Of a rule that nobody here can read no slots are known, and they must not keep it from being changed. */
function readOrNone(row: ScheduleRow) {
  try {
    return slotsOf(row);
  } catch {
    return undefined;
  }
}

/** Says which slot is next. A paused schedule is looked at when its pause ends. */
export async function writeNext(sql: Sql, row: ScheduleRow, next: { at: Date } | undefined): Promise<void> {
  const { next_slot: slot, next_at: at } = nextColumns(row, next);
  await sql.$executeRaw`
    UPDATE schedules s SET next_slot = ${slot}::timestamptz,
      next_at = CASE WHEN s.paused_at IS NULL OR ${slot}::timestamptz IS NULL THEN ${at}::timestamptz ELSE s.paused_until END
    WHERE s.id = ${row.scheduleId}::uuid`;
}

/** Pauses a schedule, or changes why and for how long. A slot that waits for a job is skipped. */
export async function pauseSchedule(
  client: PrismaClient,
  ownerId: string,
  scheduleId: string,
  pause: { actor: string; reason: string | null; until: Date | null },
): Promise<ScheduleRow | undefined> {
  return inTransaction(client, async (sql) => {
    const row = await lockSchedule(sql, ownerId, scheduleId);
    if (!row) return undefined;
    if (row.queuedSlot)
      await writeSlots(sql, [{ scheduleId, slot: row.queuedSlot, outcome: 'skipped-paused' }]);
    const reason = pause.reason === null ? null : cleanText(pause.reason);
    await sql.$executeRaw`
      UPDATE schedules SET paused_at = COALESCE(paused_at, clock_timestamp()), paused_by = ${pause.actor}, pause_reason = ${reason},
        paused_until = ${pause.until}::timestamptz, queued_slot = NULL,
        next_at = CASE WHEN next_slot IS NOT NULL THEN ${pause.until}::timestamptz END, version = version + 1, updated_at = clock_timestamp()
      WHERE id = ${scheduleId}::uuid`;
    return lockSchedule(sql, ownerId, scheduleId);
  });
}

/**
 * Ends a pause; the slots that it has skipped are one row of the ledger. Nothing is done when there is none.
 * @throws {InvalidJobError} when its rule cannot be read
 */
export async function resumeSchedule(
  client: PrismaClient,
  ownerId: string,
  scheduleId: string,
): Promise<ScheduleRow | undefined> {
  return inTransaction(client, async (sql) => {
    const row = await lockSchedule(sql, ownerId, scheduleId);
    if (!row?.pausedAt) return row;
    const { now, nextSlot, pausedUntil } = row;
    const end = pausedUntil && pausedUntil < now ? new Date(pausedUntil.getTime() - 1) : now;
    const slots = readableSlotsOf(row);
    const skipped = nextSlot ? stretch(slots, nextSlot, end, 'skipped-paused') : [];
    await writeSlots(
      sql,
      skipped.map((rows) => ({ scheduleId, ...rows })),
    );
    await sql.$executeRaw`
      UPDATE schedules SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL,
        version = version + 1, updated_at = clock_timestamp()
      WHERE id = ${scheduleId}::uuid`;
    const [last] = skipped;
    if (last) await writeNext(sql, row, slots.next(last.until ?? last.slot));
    else await writeNext(sql, row, nextSlot ? { at: nextSlot } : undefined);
    return lockSchedule(sql, ownerId, scheduleId);
  });
}

/** What decides which slots there are and which jobs they make. */
function definitionOf({
  cron,
  everyMs,
  timezone,
  startAt,
  endAt,
  template,
  maxRuntimeMs,
}: ScheduleRule): string {
  return JSON.stringify([cron, everyMs, timezone, startAt, endAt, sorted(template), maxRuntimeMs]);
}

/** Postgres keeps the keys of JSON in an order of its own. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, part]) => [key, sorted(part)]);
}

const COLUMNS = Prisma.sql`name, cron, every_ms, timezone, start_at, end_at, max_runs, jitter_ms, type, template, max_runtime_ms,
  checkin_margin_ms, misfire, max_catch_up, catch_up_window_ms, overlap`;
const VALUES = Prisma.sql`r.name, r.cron, r.every_ms, r.timezone, r.start_at, r.end_at, r.max_runs, r.jitter_ms, r.type, r.template,
  r.max_runtime_ms, r.checkin_margin_ms, r.misfire, r.max_catch_up, r.catch_up_window_ms, r.overlap`;

function ruleRows(rule: ScheduleRule): Prisma.Sql {
  const row = {
    name: rule.name,
    cron: rule.cron,
    every_ms: rule.everyMs,
    timezone: rule.timezone,
    start_at: rule.startAt,
    end_at: rule.endAt,
    max_runs: rule.maxRuns,
    jitter_ms: rule.jitterMs,
    type: rule.type,
    template: rule.template,
    max_runtime_ms: rule.maxRuntimeMs,
    checkin_margin_ms: rule.checkinMarginMs,
    misfire: rule.misfire,
    max_catch_up: rule.maxCatchUp,
    catch_up_window_ms: rule.catchUpWindowMs,
    overlap: rule.overlap,
  };
  return Prisma.sql`jsonb_to_record(${JSON.stringify(row)}::jsonb) AS r(name text, cron text, every_ms bigint, timezone text,
    start_at timestamptz, end_at timestamptz, max_runs int, jitter_ms bigint, type text, template jsonb, max_runtime_ms bigint,
    checkin_margin_ms bigint, misfire text, max_catch_up int, catch_up_window_ms bigint, overlap text)`;
}
