/** The ends of a job of which somebody can be mailed. A cancel is none: who canceled knows. */
export const NOTIFY_EVENTS = ['failed', 'completed'] as const;
export type NotifyEvent = (typeof NOTIFY_EVENTS)[number];

/** Addresses of one job. */
export const MOST_RECIPIENTS = 10;

/** Who is mailed when a job ends. What is left out is as the job type says, and then as the service is set. */
export interface NotifyOptions {
  /** Addresses; none: nobody is mailed. */
  email?: string[];
  on?: NotifyEvent[];
}

/** Who is mailed of which ends, as it was fixed for a job. */
export interface Notify {
  email: string[];
  on: NotifyEvent[];
}

/** What is told of the end of a job, whoever is told. */
export interface JobNotice {
  jobId: string;
  type: string;
  status: 'completed' | 'failed' | 'canceled';
  generation: number;
  error: { code: string; message: string } | null;
  labels: Record<string, string>;
  finishedAt: string;
}

/** What is told of a job that had not begun in time after the slot of its schedule. */
export interface LateNotice extends Pick<JobNotice, 'jobId' | 'type' | 'generation' | 'labels'> {
  scheduleId: string;
  slot: string;
}
