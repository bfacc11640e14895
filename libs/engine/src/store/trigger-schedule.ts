import type { Slots } from '@app/core';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { type Acceptance, acceptJobs, type NewJob } from './accept-jobs.js';
import { lockSchedule } from './change-schedules.js';
import { inTransaction } from './in-transaction.js';
import { newId } from './new-id.js';
import { readableSlotsOf, type ScheduleRow } from './schedule-rows.js';
import { slotKey, writeSlots } from './slot-ledger.js';

/** A job that stands in the way of one that was asked for now. Nothing was written. */
export class SlotBlocked extends Error {
  constructor(readonly jobId: string) {
    super(jobId);
  }
}

/**
 * Makes a job of a schedule now, in a slot of its own, paused or not. It counts as no run of the rule. Undefined when the
 * owner has no such schedule.
 * @throws {SlotBlocked} when a job of its type, or with its key, is open; {InvalidJobError} when its rule cannot be read
 */
export async function triggerSchedule(
  client: PrismaClient,
  ownerId: string,
  scheduleId: string,
  by: {
    actor: string;
    incarnation: string;
    prepare(firing: { schedule: ScheduleRow; slot: Date; jobId: string }): Promise<NewJob>;
  },
): Promise<{ job: NewJob; createdAt: Date } | undefined> {
  return inTransaction(client, async (sql) => {
    const schedule = await lockSchedule(sql, ownerId, scheduleId);
    if (!schedule) return undefined;
    const jobId = newId();
    const take = async (slot: Date) => {
      const record = { scheduleId, slot, outcome: 'fired' as const, jobId, triggeredBy: by.actor };
      return (await writeSlots(sql, [record])).has(slotKey(scheduleId, slot));
    };
    const rule = readableSlotsOf(schedule);
    let slot = schedule.now;
    // Another one may have this very millisecond; and those of the rule are left to the rule.
    while (isOfRule(rule, slot) || !(await take(slot))) slot = new Date(slot.getTime() + 1);
    const job = await by.prepare({ schedule, slot, jobId });
    const [answer] = (await acceptJobs(sql, [job], by.incarnation)) as [Acceptance];
    if (answer.kind !== 'accepted') throw new SlotBlocked(answer.kind === 'mismatch' ? '' : answer.jobId);
    return { job, createdAt: answer.createdAt };
  });
}

function isOfRule(rule: Slots, slot: Date): boolean {
  return rule.count(new Date(slot.getTime() - 1), slot) > 0;
}
