import { JOB_TRANSITIONS, type JobStatus, TASK_TRANSITIONS, type TaskStatus } from '@app/core';
import { counted, isEnded, type ModelJob, type ModelTask, progressSum } from './model.js';

/** Moves a job; the state machine in the code must know the move. */
export function moveJob(job: ModelJob, to: JobStatus): void {
  const known = Object.values(JOB_TRANSITIONS).some((moves) => moves[job.status] === to);
  if (!known) throw new Error(`The model moves a job from ${job.status} to ${to}.`);
  job.status = to;
  if (isEnded(job) && job.hook) job.exit = 1;
}

/** Moves a task; the state machine in the code must know the move. */
export function moveTask(task: ModelTask, to: TaskStatus): void {
  const known = Object.values(TASK_TRANSITIONS).some((moves) => moves[task.status] === to);
  if (!known) throw new Error(`The model moves a task from ${task.status} to ${to}.`);
  task.status = to;
  if (to !== 'active') task.lease = 'none';
}

/** Writes a row of the ledger at the job's present version. */
export function note(job: ModelJob, kind: string, what: string[] | number = []): void {
  const told = typeof what === 'number' ? String(what) : what.toSorted().join(',');
  job.events.push(`${job.generation}/${job.version} ${kind} ${told}`.trimEnd());
}

/** Progress is the floor of the mean, 99 at most before the end, nothing while planning, and never goes back. */
export function showProgress(job: ModelJob): void {
  if (job.status === 'completed') job.progress = 100;
  const total = counted(job).length;
  if (job.planning || total === 0 || job.status === 'completed') return;
  job.progress = Math.max(job.progress, Math.min(99, Math.floor(progressSum(job) / total)));
}

/** Ends whatever is open in a job that has just ended: from then on no fence that was granted is worth anything. */
export function endOpen(job: ModelJob): void {
  const open = job.tasks.filter((task) => !isEnded(task));
  job.planning = false;
  for (const task of open) {
    if (task.status === 'active') job.stops.push(`${job.generation} ${task.id} open`);
    moveTask(task, 'canceled');
    task.fence++;
  }
  const told = open.filter(({ kind }) => kind === 'task').map(({ id }) => id);
  if (told.length > 0) note(job, 'tasks.canceled', told);
}
