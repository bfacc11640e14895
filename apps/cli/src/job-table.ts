import type { Job } from './api-answers.js';
import { plain } from './plain-text.js';
import { shortType, tasksDone } from './progress-line.js';

const HEADS = ['JOB', 'TYPE', 'STATUS', 'PROGRESS', 'TASKS', 'CREATED'];
const ALIGNED_RIGHT = new Set(['PROGRESS', 'TASKS']);

/** Jobs as a table with one line for each and one for the heads. */
export function jobTable(jobs: Job[]): string {
  const rows = [HEADS, ...jobs.map(cells)];
  const widths = HEADS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => line(row, widths)).join('\n');
}

function cells({ jobId, type, status, progress, tasks, createdAt }: Job): string[] {
  // 2026-01-02T03:04:05.678Z: nobody reads the milliseconds.
  const created = plain(createdAt)
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
  return [plain(jobId), shortType(type), plain(status), `${progress} %`, tasksDone(tasks), created];
}

function line(row: string[], widths: number[]): string {
  return row
    .map((cell, column) => {
      const width = widths[column] ?? 0;
      return ALIGNED_RIGHT.has(HEADS[column] ?? '') ? cell.padStart(width) : cell.padEnd(width);
    })
    .join('  ')
    .trimEnd();
}
