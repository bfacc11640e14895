/** A process that executes tasks, as those see it who look at the workers. */
export interface Worker {
  workerId: string;
  host: string;
  /** The tags that it holds; it runs untagged tasks besides. */
  tags: string[];
  queues: string[];
  /** Tasks that it runs at a time. */
  slots: number;
  /** The job types that its code has, with their versions. */
  types: { name: string; version: number }[];
  startedAt: Date;
  /** Its last heartbeat. */
  seenAt: Date;
  /** Tasks that ran at its last heartbeat and have not ended since, of whichever owner. */
  runningCount: number;
  /** Those of them that may be seen. */
  running: RunningTaskSummary[];
}

/** A task that a worker runs. */
export interface RunningTaskSummary {
  jobId: string;
  /** Null for the plan of a job, which is not among its tasks. */
  taskId: string | null;
  type: string;
  /** When its first attempt began. */
  startedAt: Date;
}
