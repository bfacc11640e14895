import type { JobProgress } from './api-answers.js';
import { plain } from './plain-text.js';

const WIDEST_BAR = 24;
const NARROWEST_BAR = 4;
const LONGEST_TYPE = 40;

/** What a line tells of a job. `note` replaces the state. */
export type LineOf = Pick<JobProgress, 'status' | 'progress' | 'tasks' | 'createdAt' | 'finishedAt'> & {
  note?: string;
};

/** `files.ingest  ████████░░░░  66 %  20/30 tasks  active  00:03`, with a bar that fits into `columns`. */
export function barLine(type: string, job: LineOf, columns: number): string {
  const parts = partsOf(type, job);
  const room = columns - parts.join('  ').length - 3;
  if (room < NARROWEST_BAR) return parts.join('  ');
  const width = Math.min(room, WIDEST_BAR);
  const full = Math.floor((Math.min(Math.max(job.progress, 0), 100) * width) / 100);
  const [name = '', ...rest] = parts;
  return [name, '█'.repeat(full) + '░'.repeat(width - full), ...rest].join('  ');
}

/** The same without a bar. */
export function textLine(type: string, job: LineOf): string {
  return partsOf(type, job).join('  ');
}

/** A job type, as long as a line can bear. */
export function shortType(type: string): string {
  const text = plain(type);
  return text.length <= LONGEST_TYPE ? text : `${text.slice(0, LONGEST_TYPE - 1)}…`;
}

/** `20/30`; `20/?` while the plan still adds tasks. */
export function tasksDone({ completed, total }: JobProgress['tasks']): string {
  return `${completed}/${total ?? '?'}`;
}

/** The time from a job's submit to its end, or to now: `00:03`, `1:00:03`. */
export function age({ createdAt, finishedAt }: Pick<JobProgress, 'createdAt' | 'finishedAt'>): string {
  const end = finishedAt === null ? Date.now() : Date.parse(finishedAt);
  // The clock of the service may be ahead of ours.
  const seconds = Math.max(0, Math.floor((end - Date.parse(createdAt)) / 1000)) || 0;
  const hours = Math.floor(seconds / 3600);
  return `${hours > 0 ? `${hours}:` : ''}${twoDigits(Math.floor(seconds / 60) % 60)}:${twoDigits(seconds % 60)}`;
}

function partsOf(type: string, job: LineOf): string[] {
  const failed = job.tasks.failed > 0 ? `, ${job.tasks.failed} failed` : '';
  return [
    shortType(type),
    `${String(job.progress).padStart(3)} %`,
    `${tasksDone(job.tasks)} tasks${failed}`,
    job.note ?? plain(job.status),
    age(job),
  ];
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}
