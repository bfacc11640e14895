import type { Slot, SlotOutcome } from '@app/core';
import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { acceptJobs } from './accept-jobs.js';
import { inTransaction } from './in-transaction.js';
import type { CanceledJob } from './cancel-job.js';
import { lockDue, type TickScope } from './due-schedules.js';
import { cancelOthers, heldByOthers, openJobsOf } from './jobs-of-schedules.js';
import { type OpenLimits, roomOf } from './open-work.js';
import { type Firing, GAP_NOTE } from './overlap.js';
import { delayOf, planSlots, type Prepare, type SlotPlan } from './plan-slots.js';
import type { ScheduleRow } from './schedule-rows.js';
import { type NewSlotRecord, refuseSlots, slotKey, writeSlots } from './slot-ledger.js';
import { givenRows } from './given-rows.js';

/** Who makes the jobs of schedules, and what they are held to. */
export interface Firings {
  /** The job types whose jobs can be made here; other schedules are left to others. */
  types: string[];
  incarnation: string;
  /** What an owner may have open. */
  most: OpenLimits;
  prepare: Prepare;
}

/** What a tick has done. */
export interface Tick {
  /** Schedules of which something was decided: there may be more. */
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
    if (due.length === 0) return { looked: 0, outcomes: [], lateness: [], canceled: [] };
    const open = await openJobsOf(
      sql,
      due.filter(({ overlap, queuedSlot }) => overlap !== 'allow' || queuedSlot).map(idOf),
    );
    const owners = due.map(({ ownerId }) => ownerId);
    const plans = await planSlots(due, open, await roomOf(sql, owners, by.most), by.prepare);
    const jobs = plans.flatMap((plan) => plan.jobs);
    const records = [...plans.flatMap(recordsOf), ...jobs.map(({ firing }) => firedRecord(firing))];
    const fresh = await writeSlots(sql, records);
    const canceled = await makeRoom(sql, plans, fresh);
    const fired = await acceptFired(sql, plans, fresh, by.incarnation);
    await moveOn(sql, plans, fired);
    return {
      looked: plans.length,
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
        .filter(({ note }) => note === undefined || note === GAP_NOTE)
        .map(({ schedule, slot }) => schedule.now.getTime() - slot.getTime() - delayOf(schedule, slot)),
      canceled,
    };
  });
}

const idOf = ({ scheduleId }: ScheduleRow) => scheduleId;

function recordsOf({ schedule: { scheduleId }, judgement, overlap, refused }: SlotPlan): NewSlotRecord[] {
  return [...[...judgement.stretches, ...overlap.skipped].map((row) => ({ scheduleId, ...row })), ...refused];
}

function firedRecord({ schedule, slot, jobId, outcome, note }: Firing): NewSlotRecord {
  const { scheduleId, checkinMarginMs } = schedule;
  const due = slot.getTime() + delayOf(schedule, slot);
  const checkAt = checkinMarginMs === null ? undefined : new Date(due + checkinMarginMs);
  return { scheduleId, slot, outcome, jobId, note, checkAt };
}

/** Cancels the open jobs of schedules that want it, where that lets the job of a new slot in. */
async function makeRoom(sql: Sql, plans: SlotPlan[], fresh: Set<string>): Promise<CanceledJob[]> {
  const wanted = plans
    .filter(({ overlap }) => overlap.cancels)
    .flatMap(({ jobs }) => jobs)
    .filter(({ firing }) => isFresh(fresh, firing))
    .map(({ firing, job }) => ({ scheduleId: firing.schedule.scheduleId, dedupe: job.dedupe }));
  const inVain = await heldByOthers(sql, wanted);
  const ids = wanted.map(({ scheduleId }) => scheduleId).filter((id) => !inVain.has(id));
  return cancelOthers(sql, ids, 'schedules');
}

const isFresh = (fresh: Set<string>, { schedule, slot }: Firing) =>
  fresh.has(slotKey(schedule.scheduleId, slot));

/** Accepts the jobs of new slots, and answers the slots that have one now. */
async function acceptFired(
  sql: Sql,
  plans: SlotPlan[],
  fresh: Set<string>,
  incarnation: string,
): Promise<Firing[]> {
  // Of two that want one key it is for the one that has had a job canceled for it.
  const leave = plans
    .toSorted((a, b) => Number(b.overlap.cancels) - Number(a.overlap.cancels))
    .flatMap(({ jobs }) => jobs)
    .filter(({ firing }) => isFresh(fresh, firing));
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

const NEXT = Prisma.sql`id uuid, next_slot timestamptz, next_at timestamptz, queued_slot timestamptz, runs int`;

async function moveOn(sql: Sql, plans: SlotPlan[], fired: Firing[]): Promise<void> {
  const runsOf = (schedule: ScheduleRow) => fired.filter((firing) => firing.schedule === schedule).length;
  const rows = plans.map(({ schedule, judgement, overlap }) => {
    const runs = runsOf(schedule);
    const ended = schedule.maxRuns !== null && schedule.runs + runs >= schedule.maxRuns;
    const next = ended ? undefined : judgement.next;
    return { id: schedule.scheduleId, ...nextColumns(schedule, next), queued_slot: overlap.queuedSlot, runs };
  });
  // A pause that ends by itself is over when its end has been looked at.
  await sql.$executeRaw`
    UPDATE schedules s SET next_slot = r.next_slot, next_at = r.next_at, queued_slot = r.queued_slot, runs = s.runs + r.runs,
      paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL
    FROM ${givenRows(rows, NEXT)} r
    WHERE s.id = r.id`;
}
