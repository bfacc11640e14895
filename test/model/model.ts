import type { FailurePolicy, JobStatus, Json, TaskStatus } from '@app/core';

// What jobs and tasks are by the design, in memory and without SQL: counters are counted anew from the tasks, and
// what is to be sent follows from the states. Changes are in changes.ts, the moves in job-moves.ts, task-moves.ts and turn-moves.ts.

export interface ModelTask {
  id: string;
  kind: 'task' | 'plan';
  position: number;
  key: string | null;
  status: TaskStatus;
  generation: number;
  fence: number;
  attempt: number;
  crashes: number;
  suspect: boolean;
  progress: number;
  nonce: string | null;
  lease: 'none' | 'runs' | 'ended';
  result: Json;
  error: string | null;
  checkpoint: Json;
  /** Of its dispatch row; means nothing once the task has ended. */
  epoch: number;
  /** Whether its message was sent, is to be, or waits for its turn; means nothing once the task has ended. */
  gate: 'sent' | 'unsent' | 'held';
}

/** Whether an instant is set, and whether it has passed. */
export type Instant = 'none' | 'ahead' | 'over';

export interface ModelJob {
  id: string;
  status: JobStatus;
  generation: number;
  version: number;
  policy: FailurePolicy;
  maxAttempts: number;
  resumable: boolean;
  finalize: boolean;
  limited: boolean;
  /** Whether its type has an exit hook. */
  hook: boolean;
  planning: boolean;
  runAt: Instant;
  expires: Instant;
  /** Whether its first claim in this generation was longer ago than it may run. */
  tooLong: boolean;
  started: boolean;
  progress: number;
  detail: Json;
  error: string | null;
  result: Json;
  tasks: ModelTask[];
  /** `generation/version kind what`, in the order in which they came. */
  events: string[];
  receipts: number[];
  /** `generation task open`, or `over` once it is known to have stopped. */
  stops: string[];
  /** The epoch of its finalize row, while it is being finalized. */
  turn: number;
  /** Whether it was told that its finalization takes too long. */
  overdue: boolean;
  /** The epoch of its exit row, while its exit is open; else 0. */
  exit: number;
  calls: { generation: number; key: string; attempts: number; lastError: string | null }[];
}

/** A claim that was granted, whatever has become of it since. */
export interface Grant {
  taskId: string;
  jobId: string;
  fence: number;
  attempt: number;
  nonce: string;
  generation: number;
}

/** What an attempt became, as a worker or a sweeper would write it. */
export interface Ending {
  taskId: string;
  fence: number;
  status: 'completed' | 'failed' | 'retrying' | 'paused' | 'queued';
  charged: boolean;
  expired: boolean;
  suspicion?: 'raised' | 'alone' | 'cleared';
  result?: Json;
  error?: string;
}

/** A turn of a finalization or an exit that was given out. */
export interface Turn {
  jobId: string;
  epoch: number;
  generation: number;
}

export interface Model {
  jobs: Map<string, ModelJob>;
  /** Idempotency keys with what they were used for. */
  keys: Map<string, { hash: string; jobId: string; expired: boolean }>;
  grants: Grant[];
  /** What was written of attempts, to be written again as after a lost reply. */
  endings: Ending[];
  turns: Turn[];
  exits: Turn[];
  /** `task generation key` of committed effects, with what they gave. */
  commits: Map<string, string>;
  /** The same as lines; an effect stays when its job is forgotten. */
  effects: string[];
  /** The number of the next id. */
  next: number;
}

export function newModel(): Model {
  return {
    jobs: new Map(),
    keys: new Map(),
    grants: [],
    endings: [],
    turns: [],
    exits: [],
    commits: new Map(),
    effects: [],
    next: 1,
  };
}

/** A task that nobody has claimed. */
export function newTask(of: Pick<ModelTask, 'id' | 'kind' | 'position' | 'key' | 'generation'>): ModelTask {
  return {
    ...of,
    status: 'queued',
    fence: 0,
    attempt: 0,
    crashes: 0,
    suspect: false,
    progress: 0,
    nonce: null,
    lease: 'none',
    result: null,
    error: null,
    checkpoint: null,
    epoch: 1,
    gate: 'held',
  };
}

/** Ids rise as those of the service do, and are the same in every run of a sequence. */
export function nextId(model: Model): string {
  return `00000000-0000-7000-8000-${(model.next++).toString(16).padStart(12, '0')}`;
}

export function findTask(model: Model, taskId: string): { job: ModelJob; task: ModelTask } | undefined {
  for (const job of model.jobs.values()) {
    const task = job.tasks.find(({ id }) => id === taskId);
    if (task) return { job, task };
  }
  return undefined;
}

const FINAL = ['completed', 'failed', 'canceled'];
export const isEnded = (of: { status: JobStatus | TaskStatus }) => FINAL.includes(of.status);
export const counted = (job: ModelJob) => job.tasks.filter(({ kind }) => kind === 'task');
export const countOf = (job: ModelJob, status: TaskStatus) =>
  counted(job).filter((task) => task.status === status).length;
export const progressSum = (job: ModelJob) => counted(job).reduce((sum, task) => sum + task.progress, 0);

/** The rows of open work that there must be: `kind id epoch`, and whether it is held. */
export function dispatchOf(job: ModelJob): string[] {
  const rows: string[] = [];
  const waits = job.status === 'scheduled' || job.status === 'queued';
  if (job.status === 'queued' || job.status === 'active') {
    for (const task of job.tasks)
      if (!isEnded(task))
        rows.push(`${task.kind} ${task.id} ${task.epoch}${task.gate === 'held' ? ' held' : ''}`);
  }
  if (job.status === 'scheduled') rows.push(`start ${job.id} 1`);
  if ((waits && job.expires !== 'none') || (job.status === 'active' && job.limited))
    rows.push(`deadline ${job.id} 1`);
  if (job.status === 'finalizing') rows.push(`finalize ${job.id} ${job.turn}`);
  if (job.exit > 0) rows.push(`exit ${job.id} ${job.exit}`);
  return rows;
}
