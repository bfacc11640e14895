import { createHash } from 'node:crypto';
import { type Judgement, judgeSlots } from '@app/core';
import type { NewJob } from './accept-jobs.js';
import type { OpenWork } from './open-work.js';
import { type Firing, judgeOverlap, type OverlapDecision } from './overlap.js';
import { type ScheduleRow, slotsOf } from './schedule-rows.js';
import { type NewSlotRecord, slotKey } from './slot-ledger.js';

/** Jobs, tasks and rows that are planned together, as many as one statement accepts; one job may have more tasks. */
const MOST_TOGETHER = 1000;

/** Makes the job of a slot, or says why there can be none. */
export type Prepare = (firing: Pick<Firing, 'schedule' | 'slot' | 'jobId'>) => Promise<NewJob | string>;

/** What is to be done about a schedule. */
export interface SlotPlan {
  schedule: ScheduleRow;
  judgement: Judgement;
  overlap: OverlapDecision;
  jobs: { firing: Firing; job: NewJob }[];
  /** Slots whose jobs there cannot be. */
  refused: NewSlotRecord[];
}

/**
 * Plans what becomes of the slots of schedules, one after another until it is enough for one transaction: of the last
 * schedule the rest of its slots stays due, and so do those that come after it.
 * @param open of each schedule the oldest job that is open
 * @param room what owners may still have open
 */
export async function planSlots(
  due: ScheduleRow[],
  open: Map<string, string>,
  room: Map<string, OpenWork>,
  prepare: Prepare,
): Promise<SlotPlan[]> {
  const plans: SlotPlan[] = [];
  let left = MOST_TOGETHER;
  for (const schedule of due) {
    const judgement = judge(schedule);
    const overlap = judgeOverlap(schedule, judgement.fire, open.get(schedule.scheduleId));
    const plan: SlotPlan = { schedule, judgement, overlap, jobs: [], refused: [] };
    left -= overlap.skipped.length;
    for (const [nth, firing] of overlap.firings.entries()) {
      const job = await jobWithin(room, firing, prepare);
      left -= typeof job === 'string' ? 1 : weightOf(job);
      if (left < 0 && (plans.length > 0 || nth > 0)) {
        if (nth > 0) plans.push(cut(plan, nth));
        return plans;
      }
      if (typeof job === 'string')
        plan.refused.push({
          scheduleId: schedule.scheduleId,
          slot: firing.slot,
          outcome: 'missed',
          note: job,
        });
      else plan.jobs.push({ firing, job });
    }
    plans.push(plan);
    if (left <= 0) break;
  }
  return plans;
}

const weightOf = (job: NewJob) => 1 + job.units.length;

async function jobWithin(
  room: Map<string, OpenWork>,
  firing: Firing,
  prepare: Prepare,
): Promise<NewJob | string> {
  const left = room.get(firing.schedule.ownerId);
  if (left && left.jobs < 1) return 'its owner has as many open jobs as are allowed';
  const job = await prepare(firing);
  if (!left || typeof job === 'string') return job;
  const tasks = tasksOf(job);
  if (left.tasks < tasks) return 'its owner would have more open tasks than are allowed';
  left.jobs -= 1;
  left.tasks -= tasks;
  return job;
}

/** What a job counts among the open tasks of its owner. */
export function tasksOf({ units }: Pick<NewJob, 'units'>): number {
  return units.filter(({ kind }) => kind === 'task').length;
}

/** A plan with some of its firings alone. Only catch-up runs that do not wait for one another are so many. */
function cut(plan: SlotPlan, firings: number): SlotPlan {
  const { judgement, overlap } = plan;
  const next = overlap.firings[firings]?.slot;
  const slot = judgement.fire.find(({ at }) => at === next);
  if (!slot) return plan;
  return {
    ...plan,
    judgement: {
      fire: judgement.fire.filter(({ at }) => at < slot.at),
      stretches: judgement.stretches.filter((stretch) => stretch.slot < slot.at),
      next: slot,
    },
    overlap: { ...overlap, firings: overlap.firings.slice(0, firings) },
  };
}

function judge(schedule: ScheduleRow): Judgement {
  const { nextSlot, now, maxRuns, runs } = schedule;
  // Its waiting slot may be all that there is to look at.
  if (nextSlot === null) return { fire: [], stretches: [], next: undefined };
  return judgeSlots({
    ...schedule,
    slots: slotsOf(schedule),
    nextSlot,
    delayOf: (slot) => delayOf(schedule, slot),
    runsLeft: maxRuns === null ? Infinity : maxRuns - runs - (schedule.queuedSlot ? 1 : 0),
    pausedUntil: schedule.pausedAt ? (schedule.pausedUntil ?? now) : undefined,
  });
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
