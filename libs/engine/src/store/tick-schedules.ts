import { createHash } from 'node:crypto';
import { type Judgement, judgeSlots, type Slot, type SlotOutcome } from '@app/core';
import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { acceptJobs, type NewJob } from './accept-jobs.js';
import { inTransaction } from './in-transaction.js';
import { type CanceledJob, cancelOthers, openJobsOf } from './jobs-of-schedules.js';
import { countOpen } from './open-work.js';
import { type Firing, judgeOverlap, type OverlapDecision } from './overlap.js';
import { SCHEDULE_COLUMNS, type ScheduleRow, slotsOf } from './schedule-rows.js';
import { type NewSlotRecord, refuseSlots, slotKey, writeSlots } from './slot-ledger.js';

/** Who makes the jobs of schedules, and what they are held to. */
export interface Firings {
  /** The job types whose jobs can be made here; other schedules are left to others. */
  types: string[];
  incarnation: string;
  /** Open jobs that an owner may have. */
  mostOpenJobs: number | undefined;
  /** Makes the job of a slot, or says why there can be none. */
  prepare(firing: Pick<Firing, 'schedule' | 'slot' | 'jobId'>): Promise<NewJob | string>;
}

/** Which schedules are looked at. */
export interface TickScope {
  limit: number;
  /** Only these. */
  only?: string[];
  /** Not these. */
  except?: string[];
}

/** What a tick has done. */
export interface Tick {
  /** Schedules that were looked at: as many as the limit, where there may be more. */
  looked: number;
  outcomes: { outcome: SlotOutcome; count: number }[];
  /** Of the slots that fired, how long after they were due, in milliseconds. */
  lateness: number[];
  /** To be told to those who run them. */
  canceled: CanceledJob[];
}

/** Nobody is waited for who holds a key that a job wants: other schedules are due as well. */
const LOCK_TIMEOUT_MS = 1000;

/**
 * Decides about every slot that is due: locks the schedules, passing by those that others hold, judges their slots by
 * the clock of Postgres, and writes the rows of the ledger, the jobs and the next slots together. A slot fires if its
 * row of the ledger is new, and never otherwise.
 */
export async function tickSchedules(client: PrismaClient, by: Firings, scope: TickScope): Promise<Tick> {
  return inTransaction(client, async (sql) => {
    await sql.$executeRaw`SELECT set_config('lock_timeout', ${String(LOCK_TIMEOUT_MS)}, true)`;
    const due = await lockDue(sql, by.types, scope);
    const nothing = { looked: due.length, outcomes: [], lateness: [], canceled: [] };
    if (due.length === 0) return nothing;
    const open = await openJobsOf(
      sql,
      due.filter(({ overlap, queuedSlot }) => overlap !== 'allow' || queuedSlot).map(idOf),
    );
    const decided = due.map((schedule) => decide(schedule, open.get(schedule.scheduleId) ?? []));
    const cancels = decided
      .filter(({ overlap }) => overlap.cancels)
      .map(({ schedule }) => schedule.scheduleId);
    const canceled = await cancelOthers(sql, cancels, 'schedules');
    const { jobs, refused } = await prepareJobs(
      sql,
      by,
      decided.flatMap(({ overlap }) => overlap.firings),
    );
    const records = [
      ...decided.flatMap(recordsOf),
      ...refused,
      ...jobs.map(({ firing }) => firedRecord(firing)),
    ];
    const fired = await acceptFired(sql, jobs, await writeSlots(sql, records), by.incarnation);
    await moveOn(sql, decided, fired);
    return {
      looked: due.length,
      outcomes: [
        ...records
          .filter(({ jobId }) => jobId === undefined)
          .map(({ outcome, count = 1 }) => ({ outcome, count })),
        ...jobs.map(({ firing }) => ({
          outcome: fired.includes(firing) ? firing.outcome : ('skipped-overlap' as const),
          count: 1,
        })),
      ],
      lateness: fired
        .filter(({ note, outcome }) => note === undefined || outcome === 'dst-gap')
        .map(({ schedule, slot }) => schedule.now.getTime() - slot.getTime() - delayOf(schedule, slot)),
      canceled,
    };
  });
}

/** The ids of schedules that are due here, locked by others or not. */
export async function findDue(sql: Sql, types: string[], limit: number): Promise<string[]> {
  const rows = await sql.$queryRaw<{ id: string }[]>`
    SELECT s.id::text AS id FROM schedules s WHERE ${isDue(types)} ORDER BY next_at LIMIT ${limit}`;
  return rows.map(({ id }) => id);
}

/** In how many milliseconds the next schedule is due here, `most` at most and less than 0 when one was, and whether any slot waits for a job to end. */
export async function nextSlotDue(
  sql: Sql,
  types: string[],
  except: string[],
  most: number,
): Promise<{ ms: number; slotsWait: boolean }> {
  const [next] = await sql.$queryRaw<{ ms: number | null; slotsWait: boolean }[]>`
    SELECT EXISTS (SELECT FROM schedules WHERE queued_slot IS NOT NULL) AS "slotsWait", (
      SELECT (extract(epoch FROM next_at - clock_timestamp()) * 1000)::float8 FROM schedules
      WHERE next_at IS NOT NULL AND type = ANY(${types}::text[]) AND id <> ALL(${except}::uuid[])
      ORDER BY next_at LIMIT 1) AS ms`;
  return {
    // A timer knows no fractions, and the one before the slot would be too early.
    ms: Math.ceil(Math.min(most, next?.ms ?? most)),
    slotsWait: next?.slotsWait ?? false,
  };
}

const isDue = (types: string[]) => Prisma.sql`
  s.next_at <= statement_timestamp() AND s.next_at IS NOT NULL AND s.type = ANY(${types}::text[])`;

async function lockDue(
  sql: Sql,
  types: string[],
  { limit, only, except = [] }: TickScope,
): Promise<ScheduleRow[]> {
  const those = only ? Prisma.sql`s.id = ANY(${only}::uuid[])` : Prisma.sql`s.id <> ALL(${except}::uuid[])`;
  const due = await sql.$queryRaw<ScheduleRow[]>`
    SELECT ${SCHEDULE_COLUMNS} FROM schedules s WHERE ${isDue(types)} AND ${those}
    ORDER BY s.next_at LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED`;
  const freed = await sql.$queryRaw<ScheduleRow[]>`
    SELECT ${SCHEDULE_COLUMNS} FROM schedules s
    WHERE s.queued_slot IS NOT NULL AND s.type = ANY(${types}::text[]) AND ${those}
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.schedule_id = s.id AND j.schedule_id IS NOT NULL AND j.finished_at IS NULL)
    LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED`;
  const ids = new Set(due.map(idOf));
  return [...due, ...freed.filter((row) => !ids.has(row.scheduleId))];
}

const idOf = ({ scheduleId }: ScheduleRow) => scheduleId;

interface Decided {
  schedule: ScheduleRow;
  judgement: Judgement;
  overlap: OverlapDecision;
}

function decide(schedule: ScheduleRow, open: string[]): Decided {
  const { nextSlot, now, maxRuns, runs } = schedule;
  const runsLeft = maxRuns === null ? Infinity : maxRuns - runs - (schedule.queuedSlot ? 1 : 0);
  const pausedUntil = schedule.pausedAt ? (schedule.pausedUntil ?? now) : undefined;
  const judgement: Judgement =
    nextSlot === null
      ? { fire: [], stretches: [], next: undefined }
      : judgeSlots({
          ...schedule,
          slots: slotsOf(schedule),
          nextSlot,
          delayOf: (slot) => delayOf(schedule, slot),
          runsLeft,
          pausedUntil,
        });
  return { schedule, judgement, overlap: judgeOverlap(schedule, judgement.fire, open) };
}

/** How much later than its instant a slot is due: the same whoever asks. */
export function delayOf(
  { scheduleId, jitterMs }: Pick<ScheduleRow, 'scheduleId' | 'jitterMs'>,
  slot: Date,
): number {
  if (jitterMs === 0) return 0;
  const hash = createHash('sha256').update(slotKey(scheduleId, slot)).digest().readUInt32BE();
  return Math.floor((hash / 2 ** 32) * jitterMs);
}

async function prepareJobs(sql: Sql, by: Firings, firings: Firing[]) {
  const jobs: { firing: Firing; job: NewJob }[] = [];
  const refused: NewSlotRecord[] = [];
  const room = await roomOf(sql, by.mostOpenJobs, firings);
  for (const firing of firings) {
    const { schedule, slot } = firing;
    const left = room.get(schedule.ownerId) ?? Infinity;
    const job = left > 0 ? await by.prepare(firing) : 'its owner has as many open jobs as are allowed';
    room.set(schedule.ownerId, left - 1);
    if (typeof job === 'string')
      refused.push({ scheduleId: schedule.scheduleId, slot, outcome: 'missed', note: job });
    else jobs.push({ firing, job });
  }
  return { jobs, refused };
}

async function roomOf(sql: Sql, most: number | undefined, firings: Firing[]): Promise<Map<string, number>> {
  const room = new Map<string, number>();
  if (most === undefined) return room;
  for (const owner of new Set(firings.map(({ schedule }) => schedule.ownerId))) {
    room.set(owner, most - (await countOpen(sql, owner, most)).jobs);
  }
  return room;
}

function recordsOf({ schedule: { scheduleId }, judgement, overlap }: Decided): NewSlotRecord[] {
  return [...judgement.stretches, ...overlap.skipped].map((row) => ({ scheduleId, ...row }));
}

function firedRecord({ schedule, slot, jobId, outcome, note }: Firing): NewSlotRecord {
  const { scheduleId, checkinMarginMs } = schedule;
  const due = slot.getTime() + delayOf(schedule, slot);
  const checkAt = checkinMarginMs === null ? undefined : new Date(due + checkinMarginMs);
  return { scheduleId, slot, outcome, jobId, note, checkAt };
}

/** Accepts the jobs of new slots, and answers the slots that have one now. */
async function acceptFired(
  sql: Sql,
  jobs: { firing: Firing; job: NewJob }[],
  fresh: Set<string>,
  incarnation: string,
): Promise<Firing[]> {
  const leave = jobs.filter(({ firing }) => fresh.has(slotKey(firing.schedule.scheduleId, firing.slot)));
  if (leave.length === 0) return [];
  const answers = await acceptJobs(
    sql,
    leave.map(({ job }) => job),
    incarnation,
  );
  await refuseSlots(
    sql,
    leave.flatMap(({ firing: { schedule, slot } }, nth) => {
      const answer = answers[nth];
      if (answer?.kind !== 'duplicate') return [];
      const note = 'a job that must end first is open';
      return [{ scheduleId: schedule.scheduleId, slot, blockedBy: answer.jobId, note }];
    }),
  );
  return leave.filter((_, nth) => answers[nth]?.kind === 'accepted').map(({ firing }) => firing);
}

/** What a row says of its next slot. */
export function nextColumns(
  schedule: Pick<ScheduleRow, 'scheduleId' | 'jitterMs'>,
  next: Pick<Slot, 'at'> | undefined,
) {
  return {
    next_slot: next?.at ?? null,
    next_at: next ? new Date(next.at.getTime() + delayOf(schedule, next.at)) : null,
  };
}

async function moveOn(sql: Sql, decided: Decided[], fired: Firing[]): Promise<void> {
  const runsOf = (schedule: ScheduleRow) => fired.filter((firing) => firing.schedule === schedule).length;
  const rows = decided.map(({ schedule, judgement, overlap }) => {
    const runs = runsOf(schedule);
    const ended = schedule.maxRuns !== null && schedule.runs + runs >= schedule.maxRuns;
    const next = ended ? undefined : judgement.next;
    return { id: schedule.scheduleId, ...nextColumns(schedule, next), queued_slot: overlap.queuedSlot, runs };
  });
  // A pause that ends by itself is over when its end has been looked at.
  await sql.$executeRaw`
    UPDATE schedules s SET next_slot = r.next_slot, next_at = r.next_at, queued_slot = r.queued_slot, runs = s.runs + r.runs,
      paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      AS r(id uuid, next_slot timestamptz, next_at timestamptz, queued_slot timestamptz, runs int)
    WHERE s.id = r.id`;
}
