/**
 * The kinds of rows in a job's ledger. Rows of the `tasks.` kinds carry the tasks of one batch.
 * Progress has none: it is a value, not a transition. `job.exited` has the version of the end that it follows, for it
 * changes nothing of the job.
 */
export const JOB_EVENT_KINDS = [
  'job.scheduled',
  'job.rescheduled',
  'job.queued',
  'job.active',
  'job.finalizing',
  'job.completed',
  'job.failed',
  'job.canceled',
  'job.exited',
  'job.finalize-overdue',
  'job.late',
  'tasks.planned',
  'tasks.active',
  'tasks.completed',
  'tasks.failed',
  'tasks.retrying',
  'tasks.paused',
  'tasks.queued',
  'tasks.canceled',
] as const;
export type JobEventKind = (typeof JOB_EVENT_KINDS)[number];
