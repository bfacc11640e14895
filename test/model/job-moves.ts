import type { FailurePolicy, JobStatus } from '@app/core';
import { endOpen, moveJob, moveTask, note } from './changes.js';
import {
  countOf,
  counted,
  type Instant,
  isEnded,
  type Model,
  type ModelJob,
  newTask,
  progressSum,
} from './model.js';

/** What a job is submitted with. */
export interface JobSpec {
  jobId: string;
  /** Ids of its tasks, or of its plan alone. */
  units: string[];
  plan: boolean;
  policy: FailurePolicy;
  maxAttempts: number;
  resumable: boolean;
  finalize: boolean;
  limited: boolean;
  /** How many of its tasks are sent at once. */
  direct: number;
  hook: boolean;
  runAt: Instant;
  expires: Instant;
  key: { key: string; hash: string } | null;
}

/** Accepts a job whole, or answers with what the idempotency key was used for. */
export function accept(model: Model, spec: JobSpec): { kind: string; jobId?: string } {
  const known = spec.key && model.keys.get(spec.key.key);
  if (known && !known.expired) {
    return known.hash === spec.key?.hash ? { kind: 'replayed', jobId: known.jobId } : { kind: 'mismatch' };
  }
  if (spec.key) model.keys.set(spec.key.key, { hash: spec.key.hash, jobId: spec.jobId, expired: false });
  const { jobId: id, units, plan, key: _key, direct, ...policies } = spec;
  const job: ModelJob = {
    ...policies,
    id,
    status: spec.runAt === 'none' ? 'queued' : 'scheduled',
    generation: 1,
    version: 1,
    planning: plan,
    tooLong: false,
    started: false,
    progress: 0,
    detail: null,
    error: null,
    result: null,
    tasks: units.map((unit, at) => ({
      ...newTask({
        id: unit,
        kind: plan ? 'plan' : 'task',
        position: plan ? -1 : at,
        key: null,
        generation: 1,
      }),
      gate: at < direct ? 'sent' : 'held',
    })),
    events: [],
    receipts: [],
    stops: [],
    turn: 1,
    overdue: false,
    exit: 0,
    calls: [],
  };
  note(job, `job.${job.status}`);
  model.jobs.set(id, job);
  return { kind: 'accepted', jobId: id };
}

/** Cancels up to the point of no return; a repeat changes nothing. */
export function cancel(model: Model, jobId: string): unknown {
  const job = model.jobs.get(jobId);
  if (!job) return null;
  if (job.status === 'canceled') return { kind: 'repeated' };
  if (!['scheduled', 'queued', 'active'].includes(job.status)) return { kind: 'refused', status: job.status };
  moveJob(job, 'canceled');
  job.version++;
  note(job, 'job.canceled');
  job.receipts.push(job.generation);
  endOpen(job);
  return { kind: 'canceled', jobId, generation: job.generation };
}

/** Opens a failed or canceled job in a new generation, in which only what did not complete is run. */
export function retry(model: Model, jobId: string): unknown {
  const job = model.jobs.get(jobId);
  if (!job) return null;
  if (job.status !== 'failed' && job.status !== 'canceled') return { kind: 'refused', status: job.status };
  if (job.exit > 0) return { kind: 'exiting', status: job.status };
  const again = job.tasks.filter(({ status }) => status !== 'completed');
  moveJob(job, 'queued');
  job.generation++;
  job.version++;
  for (const task of again) {
    moveTask(task, 'queued');
    task.generation++;
    task.fence++;
    Object.assign(task, { attempt: 0, crashes: 0, suspect: false, nonce: null, epoch: 1, gate: 'held' });
  }
  job.planning = again.some(({ kind }) => kind === 'plan');
  // When only the Catalog is asked anew, what the tasks gave is what it was.
  if (again.length > 0) job.result = null;
  Object.assign(job, { error: null, runAt: 'none', expires: 'none' });
  Object.assign(job, { started: false, tooLong: false, overdue: false, turn: 1 });
  let status: JobStatus = 'queued';
  if (again.length === 0) {
    status = job.finalize ? 'finalizing' : 'completed';
    moveJob(job, 'active');
    moveJob(job, status);
  }
  const total = counted(job).length;
  const mean = job.planning || total === 0 ? 0 : Math.min(99, Math.floor(progressSum(job) / total));
  job.progress = status === 'completed' ? 100 : mean;
  note(job, `job.${status}`);
  return { kind: 'retried', status };
}

/** Moves the time of a job that waits for it. */
export function reschedule(model: Model, jobId: string, runAt: Instant): unknown {
  const job = model.jobs.get(jobId);
  if (!job) return null;
  if (job.status !== 'scheduled') return { kind: 'refused', status: job.status };
  if (job.expires === 'over') return { kind: 'expires-before' };
  job.runAt = runAt;
  job.version++;
  note(job, 'job.rescheduled');
  return { kind: 'rescheduled' };
}

/** What a sweeper does about jobs: those that are overdue fail, and then those that are due are queued. */
export function sweepJobs(model: Model): { failed: string[]; due: number } {
  const failed: string[] = [];
  let due = 0;
  for (const job of model.jobs.values()) {
    const waits = job.status === 'scheduled' || job.status === 'queued';
    const code = waits && job.expires === 'over' ? 'missed_deadline' : 'timeout';
    if (code === 'timeout' && !(job.status === 'active' && job.limited && job.tooLong)) continue;
    moveJob(job, 'failed');
    job.version++;
    job.error = code;
    note(job, 'job.failed');
    endOpen(job);
    failed.push(`${job.id} ${job.generation}`);
  }
  for (const job of model.jobs.values()) {
    if (job.status !== 'scheduled' || job.runAt !== 'over') continue;
    moveJob(job, 'queued');
    job.version++;
    note(job, 'job.queued');
    for (const task of job.tasks) task.gate = 'held';
    due += job.tasks.length;
  }
  return { failed: failed.toSorted(), due };
}

/** Forgets every job that has ended, with all that belongs to it but its key, but for those whose exit is open. */
export function forget(model: Model): number {
  const ended = [...model.jobs.values()].filter((job) => isEnded(job) && job.exit === 0);
  for (const job of ended) {
    model.jobs.delete(job.id);
    for (const task of job.tasks)
      for (const commit of model.commits.keys()) if (commit.startsWith(task.id)) model.commits.delete(commit);
  }
  return ended.length;
}

/** A day passes for every idempotency key. */
export function expireKeys(model: Model): null {
  for (const use of model.keys.values()) use.expired = true;
  return null;
}

/** Forgets the keys that have expired. */
export function forgetKeys(model: Model): number {
  const expired = [...model.keys].filter(([, use]) => use.expired);
  for (const [key] of expired) model.keys.delete(key);
  return expired.length;
}

/** What must hold of every job that the model can reach, or the model itself is wrong. */
export function modelFaults(model: Model): string[] {
  return [...model.jobs.values()].flatMap((job) => {
    const ended = countOf(job, 'completed') + countOf(job, 'failed') + countOf(job, 'canceled');
    const open = job.tasks.filter((task) => !isEnded(task));
    const rules: Record<string, boolean> = {
      'an ended or finalizing job has no open task': !isEnded(job) || open.length === 0,
      'an open job has open tasks': !['queued', 'active'].includes(job.status) || open.length > 0,
      'all tasks of an ended job have ended': !isEnded(job) || ended === counted(job).length,
      '100 is shown of a completed job and of no other':
        (job.progress === 100) === (job.status === 'completed'),
      'a completed job has completed tasks only':
        job.status !== 'completed' || countOf(job, 'completed') === counted(job).length,
      'no attempt is beyond the most': job.tasks.every(({ attempt }) => attempt <= job.maxAttempts),
      'what is open is of this generation': open.every(({ generation }) => generation === job.generation),
      'what ends, ends once':
        job.events.filter((event) =>
          new RegExp(`^${job.generation}/\\d+ job\\.(completed|failed|canceled)`).test(event),
        ).length === Number(isEnded(job)),
      'the exit of an end with a hook is open or over':
        Number(job.exit > 0) +
          job.events.filter((event) => new RegExp(`^${job.generation}/\\d+ job\\.exited`).test(event))
            .length ===
        Number(job.hook && isEnded(job)),
    };
    return Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [`${rule} (${job.id})`]));
  });
}
