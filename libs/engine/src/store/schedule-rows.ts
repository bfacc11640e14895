import {
  type Duration,
  durationText,
  InvalidJobError,
  type JobTemplate,
  type MisfirePolicy,
  type OverlapPolicy,
  type Schedule,
  type ScheduleInput,
  Slots,
} from '@app/core';
import { Prisma } from '@app/platform/prisma/database.js';

/** What a schedule is, without whose it is and what it has done. */
export interface ScheduleRule {
  name: string;
  cron: string | null;
  everyMs: number | null;
  timezone: string;
  startAt: Date | null;
  endAt: Date | null;
  maxRuns: number | null;
  jitterMs: number;
  type: string;
  template: JobTemplate;
  maxRuntimeMs: number | null;
  checkinMarginMs: number | null;
  misfire: MisfirePolicy;
  maxCatchUp: number;
  catchUpWindowMs: number;
  overlap: OverlapPolicy;
}

/** A schedule as it stands in the database. */
export interface ScheduleRow extends ScheduleRule {
  scheduleId: string;
  ownerId: string;
  /** From when the slots of an interval are counted. */
  anchor: Date;
  runs: number;
  declared: string | null;
  retiredAt: Date | null;
  pausedAt: Date | null;
  pausedBy: string | null;
  pauseReason: string | null;
  pausedUntil: Date | null;
  nextSlot: Date | null;
  queuedSlot: Date | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
  /** By the clock of Postgres, when it was read. */
  now: Date;
}

/** The columns of a row, of a table that is called `s`. */
export const SCHEDULE_COLUMNS = Prisma.sql`
  s.id::text AS "scheduleId", s.owner_id AS "ownerId", s.name, s.cron, s.every_ms::float8 AS "everyMs", s.timezone, s.anchor,
  s.start_at AS "startAt", s.end_at AS "endAt", s.max_runs AS "maxRuns", s.runs, s.jitter_ms::float8 AS "jitterMs", s.type, s.template,
  s.max_runtime_ms::float8 AS "maxRuntimeMs", s.checkin_margin_ms::float8 AS "checkinMarginMs", s.misfire,
  s.max_catch_up AS "maxCatchUp", s.catch_up_window_ms::float8 AS "catchUpWindowMs", s.overlap, s.declared,
  s.retired_at AS "retiredAt", s.paused_at AS "pausedAt", s.paused_by AS "pausedBy", s.pause_reason AS "pauseReason",
  s.paused_until AS "pausedUntil", s.next_slot AS "nextSlot", s.queued_slot AS "queuedSlot", s.version,
  s.created_at AS "createdAt", s.updated_at AS "updatedAt", clock_timestamp() AS now`;

/** The slots of a schedule. */
export function slotsOf(
  row: Pick<ScheduleRow, 'cron' | 'everyMs' | 'timezone' | 'anchor' | 'startAt' | 'endAt'>,
): Slots {
  return new Slots(row);
}

/**
 * The slots of a schedule that somebody asks something of.
 * @throws {InvalidJobError} when its rule cannot be read here: other time zone data has made it
 */
export function readableSlotsOf(row: Parameters<typeof slotsOf>[0]): Slots {
  try {
    return slotsOf(row);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `The rule of the schedule cannot be read: ${error.message}`;
    throw new InvalidJobError([{ pointer: '/cron', message }]);
  }
}

const SHOWN = 5;

/** A schedule as its owner sees it. */
export function toSchedule(row: ScheduleRow): Schedule {
  const paused = row.pausedAt !== null && (row.pausedUntil === null || row.pausedUntil > row.now);
  const next = nextOf(row);
  return {
    scheduleId: row.scheduleId,
    name: row.name,
    status: statusOf(row, paused),
    cron: row.cron,
    every: durationOf(row.everyMs),
    timezone: row.timezone,
    job: row.template,
    startAt: row.startAt,
    endAt: row.endAt,
    maxRuns: row.maxRuns,
    runs: row.runs,
    jitter: row.jitterMs === 0 ? null : durationText(row.jitterMs),
    misfire: row.misfire,
    maxCatchUp: row.maxCatchUp,
    catchUpWindow: durationText(row.catchUpWindowMs),
    overlap: row.overlap,
    checkinMargin: durationOf(row.checkinMarginMs),
    maxRuntime: durationOf(row.maxRuntimeMs),
    declared: row.declared !== null,
    pause:
      paused && row.pausedAt
        ? { actor: row.pausedBy ?? '', reason: row.pauseReason, since: row.pausedAt, until: row.pausedUntil }
        : null,
    queuedSlot: row.queuedSlot,
    next,
    version: row.version,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
}

function statusOf(row: ScheduleRow, paused: boolean): Schedule['status'] {
  if (row.retiredAt) return 'retired';
  if (row.nextSlot === null && row.queuedSlot === null) return 'ended';
  return paused ? 'paused' : 'active';
}

/** The next instants, which are as many as it may still make jobs. */
function nextOf(row: ScheduleRow): Date[] {
  if (row.nextSlot === null) return [];
  const left = row.maxRuns === null ? SHOWN : Math.max(0, row.maxRuns - row.runs);
  const after = new Date(Math.max(row.now.getTime(), row.nextSlot.getTime() - 1));
  try {
    return slotsOf(row)
      .after(after, Math.min(SHOWN, left))
      .map(({ at }) => at);
  } catch {
    // Another process, with other time zone data, has made it.
    return [];
  }
}

function durationOf(ms: number | null): Duration | null {
  return ms === null ? null : durationText(ms);
}

/** A schedule as it would have been given, so that a change can be checked with what stays. */
export function toInput(row: ScheduleRow): ScheduleInput {
  const all = {
    name: row.name,
    cron: row.cron,
    every: durationOf(row.everyMs),
    timezone: row.timezone,
    job: row.template,
    startAt: row.startAt,
    endAt: row.endAt,
    maxRuns: row.maxRuns,
    jitter: durationText(row.jitterMs),
    misfire: row.misfire,
    maxCatchUp: row.maxCatchUp,
    catchUpWindow: durationText(row.catchUpWindowMs),
    overlap: row.overlap,
    checkinMargin: durationOf(row.checkinMarginMs),
    maxRuntime: durationOf(row.maxRuntimeMs),
  };
  return Object.fromEntries(
    Object.entries(all).filter(([, value]) => value !== null),
  ) as unknown as ScheduleInput;
}
