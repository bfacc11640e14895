import { z } from 'zod';
import { JOB_STATUSES, MISFIRE_POLICIES, OVERLAP_POLICIES, SLOT_OUTCOMES } from '@app/core';
import { Json } from '../jobs/jobs.schemas.js';

// What the answers look like, for the OpenAPI document.
const Time = z.iso.datetime();
const Length = z.string().meta({ description: 'Such as 10m.' });
const nextCursor = z.string().nullable();

export const ScheduleAnswer = z
  .object({
    scheduleId: z.uuid(),
    name: z.string(),
    status: z.enum(['active', 'paused', 'ended', 'retired']),
    cron: z.string().nullable(),
    every: Length.nullable(),
    timezone: z.string(),
    job: z.record(z.string(), Json),
    startAt: Time.nullable(),
    endAt: Time.nullable(),
    maxRuns: z.int().nullable(),
    runs: z.int().meta({ description: 'Jobs that its slots have made.' }),
    jitter: Length.nullable(),
    misfire: z.enum(MISFIRE_POLICIES),
    maxCatchUp: z.int(),
    catchUpWindow: Length,
    overlap: z.enum(OVERLAP_POLICIES),
    checkinMargin: Length.nullable(),
    maxRuntime: Length.nullable(),
    declared: z.boolean().meta({ description: 'Whether a job type declares it.' }),
    pause: z
      .object({ actor: z.string(), reason: z.string().nullable(), since: Time, until: Time.nullable() })
      .nullable(),
    queuedSlot: Time.nullable().meta({ description: 'A slot that waits for the job before it to end.' }),
    next: z.array(Time).meta({ description: 'The next instants, five at most.' }),
    version: z.int(),
    createdAt: Time,
    updatedAt: Time,
  })
  .meta({ id: 'Schedule' });

const Slot = z
  .object({
    slot: Time,
    until: Time.nullable().meta({ description: 'The last slot, where one row is of several.' }),
    count: z.int(),
    outcome: z.enum(SLOT_OUTCOMES),
    triggeredBy: z.string().nullable(),
    jobId: z.uuid().nullable(),
    jobStatus: z.enum(JOB_STATUSES).nullable(),
    blockedBy: z.uuid().nullable(),
    note: z.string().nullable(),
    decidedAt: Time,
  })
  .meta({ id: 'ScheduleSlot' });

export const SchedulesAnswer = z.object({ schedules: z.array(ScheduleAnswer), nextCursor });
export const SlotsAnswer = z.object({ slots: z.array(Slot), nextCursor });
export const PreviewAnswer = z.object({ next: z.array(Time) });
