import type { JobEventKind, JobStatus, TaskStatus } from '@app/core';
import type { FeedRow } from '../store/read-feed.js';

/** What a job has become. `progress` is null where it is no longer known: of an end before the job was tried again. */
export interface JobUpdate {
  jobId: string;
  type: string;
  status: JobStatus;
  progress: number | null;
  version: number;
  at: Date;
  /** The job as it is, told to who begins to listen; no event. */
  present?: true;
}

/** What a task has become. */
export interface TaskUpdate {
  jobId: string;
  taskId: string;
  status: TaskStatus;
  /** Of one that was canceled it is not told. */
  attempt?: number;
  at: Date;
}

/** One event of the live feed. */
export type LiveEvent = {
  ownerId: string;
  jobId: string;
  type: string;
  /** The transaction that has written it. */
  xid: bigint;
  /** Where it stands in what was read at one look; progress, which is a value and no event, has no place. */
  place: Place | undefined;
} & ({ event: 'job-update'; data: JobUpdate } | { event: 'task-update'; data: TaskUpdate });

/** A place among what was read at one look: by the last row that its transaction wrote of the job, of the events of that. */
export interface Place {
  seq: bigint;
  nth: number;
}

/** Less than zero when the first comes before the second. */
export function comparePlaces(one: Place, other: Place): number {
  if (one.seq !== other.seq) return one.seq < other.seq ? -1 : 1;
  return one.nth - other.nth;
}

/** What each kind of row tells: the state that it has made of the job or of its tasks; null where it has made none. */
const STATES: {
  [K in JobEventKind]: (K extends `job.${string}` ? JobStatus : TaskStatus) | null;
} = {
  'job.scheduled': 'scheduled',
  'job.rescheduled': 'scheduled',
  'job.queued': 'queued',
  'job.active': 'active',
  'job.finalizing': 'finalizing',
  'job.completed': 'completed',
  'job.failed': 'failed',
  'job.canceled': 'canceled',
  'job.exited': null,
  'job.finalize-overdue': null,
  'job.late': null,
  'tasks.planned': null,
  'tasks.active': 'active',
  'tasks.completed': 'completed',
  'tasks.failed': 'failed',
  'tasks.retrying': 'retrying',
  'tasks.paused': 'paused',
  'tasks.queued': 'queued',
  'tasks.canceled': 'canceled',
};
/** Rows from before transactions were noted have this one. */
const BEFORE_NOTED = 1n;
/** States in which a job has come no further than when it was made. */
const BEFORE_WORK = new Set(['job.scheduled', 'job.rescheduled', 'job.queued', 'job.active']);

/**
 * Makes events of rows, those of tasks one by one. What a transaction has done to a job is told at the place of its last row:
 * the second statement of a cancel has waited for the claims that it ends, and they are told before. Within it the tasks come
 * before the job itself, so that the end of a job is the last that is told of it. Equal rows have equal events,
 * whoever reads them and when. Marks only tell that a job has come further: how far, and of which version, is that of the job
 * at the look, behind all events.
 */
export function eventsOf(rows: FeedRow[]): LiveEvent[] {
  const deeds = new Map<string, FeedRow[]>();
  const marks = new Map<string, FeedRow>();
  for (const row of rows) {
    // Not by version: a claim of a job that runs already makes none of its own.
    const key = `${row.jobId} ${row.xid === BEFORE_NOTED ? `v${row.version}` : row.xid}`;
    if (row.kind === 'progress') {
      marks.set(row.jobId, row);
      continue;
    }
    const deed = deeds.get(key) ?? [];
    deed.push(row);
    // To the end: a map keeps the order in which it was filled.
    deeds.delete(key);
    deeds.set(key, deed);
  }
  return [
    ...[...deeds.values()].flatMap(ofTransaction),
    ...[...marks.values()].filter(isCurrent).map((row) => progressOfMark(row)),
  ];
}

/** The events of one transaction and job, whose rows are in the order of their numbers. */
function ofTransaction(rows: FeedRow[]): LiveEvent[] {
  const seq = rows.at(-1)?.seq ?? 0n;
  let nth = 0;
  const place = (): Place => ({ seq, nth: nth++ });
  const tasks = rows.filter((row) => row.tasks !== null);
  const own = rows.filter((row) => row.tasks === null);
  return [
    ...tasks.flatMap((row) => {
      const status = stateOf(row) as TaskStatus | null;
      return status === null ? [] : (row.tasks ?? []).map((task) => taskEvent(row, status, task, place()));
    }),
    ...own.flatMap((row) => {
      const status = stateOf(row) as JobStatus | null;
      return status === null ? [] : [jobEvent(row, status, place())];
    }),
  ];
}

function isCurrent({ job, generation }: FeedRow): boolean {
  return job.status === 'active' && job.generation === generation;
}

/** How far a job is at the look. */
export function progressOfMark({ ownerId, jobId, type, job, xid, at }: FeedRow, present?: true): LiveEvent {
  const { status, progress, version } = job;
  const data = { jobId, type, status, progress, version, at, ...(present ? { present } : {}) };
  return { ownerId, jobId, type, xid, place: undefined, event: 'job-update', data };
}

function jobEvent(row: FeedRow, status: JobStatus, place: Place): LiveEvent {
  const { ownerId, jobId, type, version, xid, at } = row;
  const data = { jobId, type, status, progress: progressOf(row), version, at };
  return { ownerId, jobId, type, xid, place, event: 'job-update', data };
}

function taskEvent(
  row: FeedRow,
  status: TaskStatus,
  task: string | { id: string; attempt?: number },
  place: Place,
): LiveEvent {
  const { ownerId, jobId, type, xid, at } = row;
  const { id: taskId, attempt } = typeof task === 'string' ? { id: task, attempt: undefined } : task;
  const data = { jobId, taskId, status, ...(attempt === undefined ? {} : { attempt }), at };
  return { ownerId, jobId, type, xid, place, event: 'task-update', data };
}

function stateOf({ kind }: FeedRow): JobStatus | TaskStatus | null {
  return kind === 'progress' ? null : STATES[kind];
}

/** A row of the ledger has none: it is that of the job, which has not gone back since, or is known from the state. */
function progressOf({ kind, generation, job }: FeedRow): number | null {
  if (kind === 'job.completed') return 100;
  if (generation === 1 && BEFORE_WORK.has(kind)) return 0;
  return generation === job.generation ? Math.min(99, job.progress) : null;
}
