import { z } from 'zod';

// Only what is looked at is checked: a newer service may answer more, and know more states.
const Progress = {
  jobId: z.string(),
  status: z.string(),
  progress: z.number(),
  version: z.number(),
  tasks: z.object({
    total: z.number().optional(),
    completed: z.number(),
    failed: z.number(),
    canceled: z.number(),
  }),
  error: z
    .looseObject({
      code: z.string(),
      message: z.string(),
      taskId: z.string().optional(),
      attempt: z.number().optional(),
    })
    .nullable(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
};

export const JobProgress = z.looseObject(Progress);
/** How far a job is. */
export type JobProgress = z.output<typeof JobProgress>;

export const Job = z.looseObject({
  ...Progress,
  type: z.string(),
  cancelReceipt: z.looseObject({ state: z.string(), reason: z.string().nullish() }).nullish(),
});
/** A job as the service shows it; `result`, `payload` and the rest are there unchecked. */
export type Job = z.output<typeof Job>;

export const JobPage = z.looseObject({ jobs: z.array(Job), nextCursor: z.string().nullable() });
/** A page of the own jobs, newest first. */
export type JobPage = z.output<typeof JobPage>;

export const ProblemAnswer = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  errors: z.array(z.object({ pointer: z.string(), message: z.string() })).optional(),
});

/** Whether a job in this state has ended. */
export function isFinal(status: string): boolean {
  return status === 'completed' || status === 'failed' || status === 'canceled';
}
