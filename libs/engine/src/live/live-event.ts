import type { JobStatus, TaskStatus } from '@app/core';
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

/** A place among what was read at one look: by the first row that its transaction wrote of the job, or the events of that. */
export interface Place {
  seq: bigint;
  nth: number;
}

/** Less than zero when the first comes before the second. */
export function comparePlaces(one: Place, other: Place): number {
  if (one.seq !== other.seq) return one.seq < other.seq ? -1 : 1;
  return one.nth - other.nth;
}

/** Kinds of rows that change nothing that is told here. */
const SILENT = new Set(['job.exited', 'job.finalize-overdue', 'tasks.planned']);
/** States in which a job has come no further than when it was made. */
const BEFORE_WORK = new Set(['job.scheduled', 'job.rescheduled', 'job.queued', 'job.active']);

/**
 * Makes events of rows, those of tasks one by one. What a transaction has done to a job is told at the place of its first row,
 * the tasks before the job itself, so that the end of a job is the last that is told of it. Equal rows have equal events,
 * whoever reads them and when. Marks only tell that a job has come further: how far, and of which version, is that of the job
 * at the look, behind all events.
 */
export function eventsOf(rows: FeedRow[]): LiveEvent[] {
  const deeds = new Map<string, FeedRow[]>();
  const marks = new Map<string, FeedRow>();
  for (const row of rows) {
    // Not by version: a claim of a job that runs already makes none of its own.
    const key = `${row.jobId} ${row.xid}`;
    if (row.kind === 'progress') marks.set(row.jobId, row);
    else if (SILENT.has(row.kind)) continue;
    else if (deeds.has(key)) deeds.get(key)?.push(row);
    else deeds.set(key, [row]);
  }
  return [
    ...[...deeds.values()].flatMap(ofTransaction),
    ...[...marks.values()].filter(isCurrent).map((row) => progressOfMark(row)),
  ];
}

/** The events of one transaction and job, whose rows are in the order of their numbers. */
function ofTransaction(rows: FeedRow[]): LiveEvent[] {
  const seq = rows[0]?.seq ?? 0n;
  let nth = 0;
  const place = (): Place => ({ seq, nth: nth++ });
  const tasks = rows.filter((row) => row.tasks !== null);
  const own = rows.filter((row) => row.tasks === null);
  return [
    ...tasks.flatMap((row) => (row.tasks ?? []).map((task) => taskEvent(row, task, place()))),
    ...own.map((row) => jobEvent(row, place())),
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

function jobEvent(row: FeedRow, place: Place): LiveEvent {
  const { ownerId, jobId, type, version, xid, at } = row;
  const data = { jobId, type, status: statusOf(row), progress: progressOf(row), version, at };
  return { ownerId, jobId, type, xid, place, event: 'job-update', data };
}

function taskEvent(row: FeedRow, task: string | { id: string; attempt?: number }, place: Place): LiveEvent {
  const { ownerId, jobId, type, xid, at } = row;
  const { id: taskId, attempt } = typeof task === 'string' ? { id: task, attempt: undefined } : task;
  const status = row.kind.slice('tasks.'.length) as TaskStatus;
  const data = { jobId, taskId, status, ...(attempt === undefined ? {} : { attempt }), at };
  return { ownerId, jobId, type, xid, place, event: 'task-update', data };
}

function statusOf({ kind }: FeedRow): JobStatus {
  return kind === 'job.rescheduled' ? 'scheduled' : (kind.slice('job.'.length) as JobStatus);
}

/** A row of the ledger has none: it is that of the job, which has not gone back since, or is known from the state. */
function progressOf({ kind, generation, job }: FeedRow): number | null {
  if (kind === 'job.completed') return 100;
  if (generation === 1 && BEFORE_WORK.has(kind)) return 0;
  return generation === job.generation ? Math.min(99, job.progress) : null;
}
