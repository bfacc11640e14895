import { z } from 'zod';
import type { JobCursor } from '@app/engine/store/job-queries.js';
import { validationError } from '../problems/problem.js';

const AfterJob = z.tuple([z.int().min(0).max(8.64e15), z.guid()]);
const AfterPosition = z.tuple([z.int().min(-1).max(2_147_483_647)]);

/** A place in a list of jobs as text that clients hand back unread. */
export function writeJobCursor(last: JobCursor): string {
  return encode([last.createdAt.getTime(), last.jobId]);
}

/** @throws {ProblemError} when the text is no cursor of ours. */
export function readJobCursor(text: string): JobCursor {
  const [createdAt, jobId] = decode(text, AfterJob);
  return { createdAt: new Date(createdAt), jobId };
}

/** A place in a job's list of tasks. */
export function writeTaskCursor(position: number): string {
  return encode([position]);
}

/** @throws {ProblemError} when the text is no cursor of ours. */
export function readTaskCursor(text: string): number {
  return decode(text, AfterPosition)[0];
}

function encode(parts: unknown[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

function decode<T>(text: string, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(parse(Buffer.from(text, 'base64url').toString()));
  if (parsed.success) return parsed.data;
  throw validationError([
    { pointer: '/cursor', message: 'Give a nextCursor of an earlier answer as it was.' },
  ]);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
