import type { Json } from '@app/core';
import { endOpen, moveJob, moveTask, note, showProgress } from './changes.js';
import {
  countOf,
  counted,
  type Ending,
  findTask,
  type Grant,
  isEnded,
  type Model,
  type ModelJob,
  type ModelTask,
  newTask,
} from './model.js';

/** A delivery that wants to run, with the epoch of its message where that is known. */
export interface Delivered {
  taskId: string;
  nonce: string;
  epoch?: number;
}

/**
 * Claims tasks: who repeats a claim with its nonce gets it again, and of two others the later one gets nothing. Nor
 * does the message of an earlier epoch.
 */
export function claim(model: Model, members: Delivered[]): Record<string, unknown> {
  const answers: Record<string, unknown> = {};
  const granted = new Map<ModelJob, ModelTask[]>();
  for (const { taskId, nonce, epoch } of members) {
    answers[taskId] = { kind: 'not-open' };
    const found = findTask(model, taskId);
    if (!found || (epoch !== undefined && epoch !== found.task.epoch)) continue;
    const { job, task } = found;
    if (task.gate === 'held' && !isEnded(task)) continue;
    const open = ['queued', 'retrying', 'paused'].includes(task.status);
    if (open && (job.status === 'queued' || job.status === 'active')) {
      moveTask(task, 'active');
      Object.assign(task, { fence: task.fence + 1, attempt: task.attempt + 1, nonce, lease: 'runs' });
      granted.set(job, [...(granted.get(job) ?? []), task]);
    } else if (task.status !== 'active' || task.nonce !== nonce) continue;
    const { fence, attempt, checkpoint, key } = task;
    const { generation } = job;
    const payload = key === null ? { job: job.id } : { key };
    answers[taskId] = { kind: 'claimed', fence, attempt, generation, checkpoint, payload };
    if (open) model.grants.push({ taskId, jobId: job.id, fence, attempt, nonce, generation });
  }
  for (const [job, tasks] of granted) {
    if (job.status === 'queued') {
      moveJob(job, 'active');
      job.version++;
      job.started = true;
      note(job, 'job.active');
    }
    const told = tasks.filter(({ kind }) => kind === 'task').map(({ id, fence }) => `${id}:${fence}`);
    if (told.length > 0) note(job, 'tasks.active', told);
  }
  return answers;
}

/** The task of a grant, if the grant still holds it. */
export function heldBy(model: Model, grant: { taskId: string; fence: number }) {
  const found = findTask(model, grant.taskId);
  const holds =
    found?.job.status === 'active' && found.task.status === 'active' && found.task.fence === grant.fence;
  return holds ? found : undefined;
}

export function renew(model: Model, grants: Grant[]): Record<string, string> {
  const answers: Record<string, string> = {};
  for (const grant of grants) {
    const held = heldBy(model, grant);
    if (held) held.task.lease = 'runs';
    const canceled = findTask(model, grant.taskId)?.task.status === 'canceled';
    answers[grant.taskId] = held ? 'renewed' : canceled ? 'canceled' : 'lost';
  }
  return answers;
}

export function progress(model: Model, grant: Grant, percent: number, detail: Json | undefined): void {
  const held = heldBy(model, grant);
  if (!held) return;
  const { job, task } = held;
  const gained = Math.max(0, percent - task.progress);
  task.progress += gained;
  if (detail !== undefined) job.detail = detail;
  // The plan is hidden: how far it is shows only in what it tells.
  if ((gained === 0 || task.kind === 'plan') && detail === undefined) return;
  job.version++;
  showProgress(job);
}

export function checkpoint(model: Model, grant: Grant, data: Json): boolean {
  const held = heldBy(model, grant);
  if (held) held.task.checkpoint = data;
  return held !== undefined;
}

/** An effect happens once per task, generation and key; whoever comes later with the key gets what it gave. */
export function commit(model: Model, grant: Grant, key: string, gives: string): string {
  if (!heldBy(model, grant)) return 'stale';
  const name = `${grant.taskId} ${grant.generation} ${key}`;
  const known = model.commits.get(name);
  if (known !== undefined) return known;
  model.commits.set(name, gives);
  model.effects.push(`${name} ${gives}`);
  return gives;
}

/** The tasks that a plan yields, held; a key that the job has already adds nothing. Null: it no longer holds its claim. */
export function addPlanned(
  model: Model,
  grant: Grant,
  inputs: { taskId: string; key: string }[],
  at: Json | undefined,
): number | null {
  const held = heldBy(model, grant);
  if (!held) return null;
  const { job, task: plan } = held;
  let added = 0;
  for (const { taskId, key } of inputs) {
    if (job.tasks.some((task) => task.key === key)) continue;
    const position = counted(job).length;
    added++;
    job.tasks.push(newTask({ id: taskId, kind: 'task', position, key, generation: job.generation }));
  }
  if (at !== undefined) plan.checkpoint = at;
  job.version++;
  if (added > 0) note(job, 'tasks.planned', added);
  return added;
}

/** Finishes a batch of attempts, of different tasks, and rolls it up into their jobs. */
export function finish(model: Model, endings: Ending[]): Record<string, string> {
  model.endings.push(...endings);
  const answers: Record<string, string> = {};
  const applied = new Map<ModelJob, [ModelTask, Ending][]>();
  for (const ending of endings) {
    const held = heldBy(model, ending);
    const task = findTask(model, ending.taskId)?.task;
    if (held && (!ending.expired || held.task.lease === 'ended'))
      applied.set(held.job, [...(applied.get(held.job) ?? []), [held.task, ending]]);
    else {
      const mine = task?.fence === ending.fence && task.status === ending.status;
      answers[ending.taskId] = mine ? 'mine-already' : 'stale';
    }
  }
  for (const [job, batch] of applied) {
    rollUp(job, batch);
    for (const [task] of batch) answers[task.id] = `applied ${job.status}`;
  }
  return answers;
}

function rollUp(job: ModelJob, batch: [ModelTask, Ending][]): void {
  job.version++;
  for (const [task, ending] of batch) {
    moveTask(task, ending.status);
    if (!ending.charged) task.attempt--;
    if (ending.suspicion === 'alone') task.crashes++;
    if (ending.suspicion !== undefined) task.suspect = ending.suspicion !== 'cleared';
    if (ending.status === 'completed') task.progress = 100;
    if (ending.result !== undefined || ending.error !== undefined)
      Object.assign(task, { result: ending.result ?? null, error: ending.error ?? null });
    if (!isEnded(task)) Object.assign(task, { epoch: task.epoch + 1, gate: 'unsent' });
    else if (task.kind === 'plan') job.planning = false;
  }
  for (const status of new Set(batch.map(([, ending]) => ending.status))) {
    const told = batch.filter(([task]) => task.kind === 'task' && task.status === status);
    if (told.length > 0)
      note(
        job,
        `tasks.${status}`,
        told.map(([{ id, fence }]) => `${id}:${fence}`),
      );
  }
  const failures = batch
    .filter(([, { status }]) => status === 'failed')
    .toSorted(([a], [b]) => (a.id < b.id ? -1 : 1));
  job.error ??= failures[0]?.[1].error ?? null;
  const unplanned = failures.some(([{ kind }]) => kind === 'plan');
  const over = job.tasks.every(isEnded);
  const failed = countOf(job, 'failed') > 0;
  if (unplanned || (failed && (over || job.policy === 'fail-fast'))) moveJob(job, 'failed');
  else if (over) moveJob(job, job.finalize && counted(job).length > 0 ? 'finalizing' : 'completed');
  showProgress(job);
  const only = job.tasks.length === 1 ? job.tasks[0] : undefined;
  // The result of a job of one task is its task's, until it is told another while it is finalized.
  if (only?.kind === 'task' && (job.status === 'completed' || job.status === 'finalizing'))
    job.result = only.result;
  if (job.status !== 'active') note(job, `job.${job.status}`);
  if (job.status === 'failed') endOpen(job);
}
