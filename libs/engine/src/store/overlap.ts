import type { Judgement, SlotOutcome } from '@app/core';
import { newId } from './new-id.js';
import { type ScheduleRow, slotsOf } from './schedule-rows.js';

/** A slot that is to make a job. */
export interface Firing {
  schedule: ScheduleRow;
  slot: Date;
  jobId: string;
  outcome: Extract<SlotOutcome, 'fired' | 'dst-gap'>;
  note: string | undefined;
}

/** What is noted of a slot that stands for a time that the clocks skip. */
export const GAP_NOTE = 'in place of a time that the clocks skip';

/** What the slots of one schedule come to, given what is open of it. */
export interface OverlapDecision {
  firings: Firing[];
  skipped: {
    slot: Date;
    outcome: 'skipped-overlap' | 'merged';
    blockedBy?: string | undefined;
    note: string;
  }[];
  queuedSlot: Date | null;
  /** Whether the open jobs are to be canceled first. */
  cancels: boolean;
}

/**
 * Judges slots that are due, one after another, against what is open of their schedule.
 * @param open the oldest job that is
 */
export function judgeOverlap(
  schedule: ScheduleRow,
  fire: Judgement['fire'],
  open: string | undefined,
): OverlapDecision {
  const decision: OverlapDecision = {
    firings: [],
    skipped: [],
    queuedSlot: schedule.queuedSlot,
    cancels: false,
  };
  const firing = (slot: Date, outcome: Firing['outcome'], note?: string) =>
    decision.firings.push({ schedule, slot, jobId: newId(), outcome, note });
  if (decision.queuedSlot && open === undefined) {
    const outcome = isGap(schedule, decision.queuedSlot) ? 'dst-gap' : 'fired';
    firing(decision.queuedSlot, outcome, 'waited for the job before it');
    decision.queuedSlot = null;
  }
  for (const { at, gap, catchUp } of fire) {
    const [outcome, note] = gap
      ? (['dst-gap', GAP_NOTE] as const)
      : (['fired', catchUp ? 'catch-up' : undefined] as const);
    const blockedBy = open ?? decision.firings.at(-1)?.jobId;
    if (schedule.overlap === 'allow' || blockedBy === undefined) firing(at, outcome, note);
    else if (schedule.overlap === 'skip') {
      decision.skipped.push({
        slot: at,
        outcome: 'skipped-overlap',
        blockedBy,
        note: 'a job of the schedule is open',
      });
    } else if (schedule.overlap === 'queue-one') {
      if (decision.queuedSlot === null) decision.queuedSlot = at;
      else
        decision.skipped.push({ slot: at, outcome: 'merged', blockedBy, note: 'another slot waits already' });
    } else {
      for (const { slot } of decision.firings.splice(0)) {
        decision.skipped.push({ slot, outcome: 'merged', note: 'a later slot came at the same time' });
      }
      decision.cancels = open !== undefined;
      firing(at, outcome, note);
    }
  }
  return decision;
}

/** Whether a slot stands for a time that the clocks skip. */
function isGap(schedule: ScheduleRow, slot: Date): boolean {
  const found = slotsOf(schedule).next(new Date(slot.getTime() - 1));
  return found?.at.getTime() === slot.getTime() && found.gap;
}
