/** Every state of a job, in the order in which a job can reach them. */
export const JOB_STATUSES = [
  'scheduled',
  'queued',
  'active',
  'finalizing',
  'completed',
  'failed',
  'canceled',
] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

/** What can happen to a job. `refinalize`: a retry when all its tasks are complete. */
export type JobEvent = 'due' | 'start' | 'finalize' | 'complete' | 'fail' | 'cancel' | 'retry' | 'refinalize';

/**
 * The state machine of a job: which event moves which state where. What is not listed is refused.
 * SQL guards, types and the documentation are made from this table.
 */
export const JOB_TRANSITIONS: Record<JobEvent, Partial<Record<JobStatus, JobStatus>>> = {
  due: { scheduled: 'queued' },
  start: { queued: 'active' },
  finalize: { active: 'finalizing' },
  complete: { active: 'completed', finalizing: 'completed' },
  fail: { scheduled: 'failed', queued: 'failed', active: 'failed', finalizing: 'failed' },
  cancel: { scheduled: 'canceled', queued: 'canceled', active: 'canceled' },
  retry: { failed: 'queued', canceled: 'queued' },
  refinalize: { failed: 'finalizing' },
};

const FINAL_JOB_STATUSES = ['completed', 'failed', 'canceled'] as const satisfies readonly JobStatus[];

/** Whether a job in this state has ended; only an explicit retry leaves such a state. */
export function isFinalJobStatus(status: JobStatus): boolean {
  return (FINAL_JOB_STATUSES as readonly JobStatus[]).includes(status);
}

/** The state that `event` leads to from `from`, or undefined when it is refused there. */
export function nextJobStatus(from: JobStatus, event: JobEvent): JobStatus | undefined {
  return JOB_TRANSITIONS[event][from];
}

/** The states in which `event` is accepted: the guard of the statement that writes it. */
export function jobSourcesOf(event: JobEvent): JobStatus[] {
  return JOB_STATUSES.filter((status) => JOB_TRANSITIONS[event][status] !== undefined);
}
