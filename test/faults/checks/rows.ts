import { type Evidence, groupBy, type JobRow, type TaskRow } from '../evidence.js';
import type { Violation } from './violation.js';

const FINAL = ['completed', 'failed', 'canceled'];

/** Looks at the rows that are left when all is over: ended jobs leave nothing open, and every sum is right. */
export function checkRows({ jobs, tasks, dispatch }: Evidence): Violation[] {
  const byJob = groupBy(tasks, (task) => task.jobId);
  const ended = new Map(jobs.filter((job) => job.ended).map((job) => [job.id, job]));
  const ids = new Set(jobs.map((job) => job.id));
  return [
    ...[...ended.values()].flatMap((job) => checkJob(job, byJob.get(job.id) ?? [])),
    ...dispatch
      .filter((row) => ended.has(row.jobId) || !ids.has(row.jobId))
      .map((row): Violation => ({
        rule: 'left-open',
        subject: row.jobId,
        detail: `dispatch of ${row.kind}`,
      })),
  ];
}

function checkJob(job: JobRow, tasks: TaskRow[]): Violation[] {
  const found: Violation[] = [];
  const tell = (rule: Violation['rule'], detail: string) => found.push({ rule, subject: job.id, detail });
  if (job.planning) tell('left-open', 'it is still being planned');
  for (const { id, kind, status } of tasks)
    if (!FINAL.includes(status)) tell('left-open', `${kind} ${id} is ${status}`);
  if (job.outcome !== job.status) tell('wrong-count', `it is ${job.status} with the outcome ${job.outcome}`);
  const counted = tasks.filter((task) => task.kind === 'task');
  const of = (status: string) => counted.filter((task) => task.status === status).length;
  const said = [job.total, job.completed, job.failed, job.canceled].join(' ');
  const seen = [counted.length, of('completed'), of('failed'), of('canceled')].join(' ');
  if (said !== seen)
    tell('wrong-count', `it says ${said} (total completed failed canceled), they are ${seen}`);
  if (job.status === 'completed' && job.completed !== job.total)
    tell('wrong-count', `it is completed with ${job.completed} of ${job.total} tasks`);
  return found;
}
