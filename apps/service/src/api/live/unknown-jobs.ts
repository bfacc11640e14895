import { problemOf } from '../problems/problem.js';
import type { Message } from './frames.js';

/** What is told of jobs that are not there, or that somebody else has: the two are not told apart. */
export function unknownJobs(unknown: string[], wanted: string[]): Message[] {
  if (unknown.length === 0) return [];
  const detail = 'There is no job of this id.';
  const errors = unknown.map((jobId) => ({ pointer: `/jobIds/${wanted.indexOf(jobId)}`, message: detail }));
  return [{ event: 'error', data: problemOf('not-found', detail, { errors }) }];
}
