import type { Json } from '../task/clean-json.js';
import type { JobFailure } from './job-errors.js';
import type { JobStatus } from './job-state.js';
import type { NotifyOptions } from './notify.js';
import type { TaskStatus } from '../task/task-state.js';

export const FAILURE_POLICIES = ['fail-fast', 'continue'] as const;
/** `fail-fast`: the first task failed for good fails the job. `continue`: all tasks end first. */
export type FailurePolicy = (typeof FAILURE_POLICIES)[number];

/** What a user submits. */
export interface JobInput {
  type: string;
  payload?: Json;
  /** The payloads of the tasks; a type with a plan refuses them. */
  tasks?: { key?: string; payload?: Json }[];
  /** That many tasks, each with the job's payload. */
  numTask?: number;
  failurePolicy?: FailurePolicy;
  /** Overrides the tag of the type; one that some job type declares. */
  tag?: string;
  /** Overrides the type's number of executions of a task. */
  attempts?: number;
  /** When the job is due; at once when absent. */
  runAt?: Date;
  /** When the job is given up, `missed_deadline`, if it has not begun. */
  expiresAt?: Date;
  /** Larger goes first among the owner's jobs, -100 to 100; default 0. */
  priority?: number;
  /** Short texts by key; jobs can be listed by those keys that the type declares searchable. */
  labels?: Record<string, string>;
  /** Refuses the job while another open job of the owner has this key. */
  dedupeKey?: string;
  /** Overrides the metadata that the type gives to the Catalog. */
  catalog?: { [key: string]: Json };
  /** Who is mailed when it ends. */
  notify?: NotifyOptions;
}

/** Who submits: the owner whose job it is, and the credential that was used. */
export interface Submitter {
  ownerId: string;
  actor: string;
}

/** A job as its owner sees it. */
export interface Job {
  jobId: string;
  ownerId: string;
  /** The credential that it was submitted with. */
  submittedBy: string;
  type: string;
  /** The capability that its workers must have; null: any worker may run it. */
  tag: string | null;
  status: JobStatus;
  progress: number;
  detail: Json | null;
  version: number;
  generation: number;
  failurePolicy: FailurePolicy;
  attempts: number;
  priority: number;
  labels: Record<string, string>;
  payload: Json;
  /** Absent while the plan still adds tasks. */
  tasks: { total?: number; completed: number; failed: number; canceled: number };
  result: Json | null;
  error: JobFailure | null;
  cancelReceipt: CancelReceipt | null;
  runAt: Date | null;
  expiresAt: Date | null;
  /** The schedule that has made it, and its slot there; null: somebody has submitted it. */
  scheduleId: string | null;
  slot: Date | null;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

/** How a cancel went: `requested`, then `delivered` to every running attempt, then all `stopped`, or some `fenced`. */
export interface CancelReceipt {
  state: 'requested' | 'delivered' | 'stopped' | 'fenced';
  requestedAt: Date;
  actor: string;
  reason: string | null;
  /** One entry for each attempt that was running when the cancel was committed. */
  stops: {
    taskId: string;
    worker: string | null;
    deliveredAt: Date | null;
    stoppedAt: Date | null;
    fencedAt: Date | null;
  }[];
}

/** A task as the job's owner sees it. */
export interface TaskSummary {
  taskId: string;
  position: number;
  key: string | null;
  status: TaskStatus;
  progress: number;
  attempt: number;
  worker: string | null;
  result: Json | null;
  error: JobFailure | null;
  startedAt: Date | null;
  finishedAt: Date | null;
}
