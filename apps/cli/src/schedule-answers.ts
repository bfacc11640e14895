import { z } from 'zod';

// Only what is looked at is checked: a newer service may answer more.
export const Schedule = z.looseObject({
  scheduleId: z.string(),
  name: z.string(),
  status: z.string(),
  cron: z.string().nullable(),
  every: z.string().nullable(),
  timezone: z.string(),
  job: z.looseObject({ type: z.string() }),
  runs: z.number(),
  pause: z.looseObject({ reason: z.string().nullish(), until: z.string().nullish() }).nullable(),
  next: z.array(z.string()),
});
/** A schedule as the service shows it. */
export type Schedule = z.output<typeof Schedule>;

export const SchedulePage = z.looseObject({
  schedules: z.array(Schedule),
  nextCursor: z.string().nullable(),
});

const Slot = z.looseObject({
  slot: z.string(),
  until: z.string().nullable(),
  count: z.number(),
  outcome: z.string(),
  jobId: z.string().nullable(),
  jobStatus: z.string().nullable(),
  note: z.string().nullable(),
});
/** What became of a slot, or of several. */
export type Slot = z.output<typeof Slot>;

export const SlotPage = z.looseObject({ slots: z.array(Slot), nextCursor: z.string().nullable() });
export const Preview = z.looseObject({ next: z.array(z.string()) });
