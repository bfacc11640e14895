import type { JobStatus } from '@app/core';

/** The closed list of problems, and the HTTP status of each. */
export const PROBLEMS = {
  'malformed-request': { status: 400, title: 'The request cannot be read' },
  'validation-error': { status: 400, title: 'The request is not valid' },
  'unknown-job-type': { status: 400, title: 'There is no such job type' },
  'too-many-tasks': { status: 400, title: 'The job has too many tasks' },
  unauthenticated: { status: 401, title: 'A valid credential is needed' },
  'insufficient-scope': { status: 403, title: 'The credential does not allow this' },
  'address-not-allowed': { status: 403, title: 'The key may not be used from there' },
  'origin-not-allowed': { status: 403, title: 'The origin may not connect' },
  'not-found': { status: 404, title: 'Not found' },
  'method-not-allowed': { status: 405, title: 'The address does not take this method' },
  'not-acceptable': { status: 406, title: 'Only JSON is answered' },
  'invalid-transition': { status: 409, title: 'The state of the job does not allow this' },
  'exit-pending': { status: 409, title: 'The exit of the job is not over yet' },
  'duplicate-job': { status: 409, title: 'An open job stands in the way' },
  'duplicate-schedule': { status: 409, title: 'Another schedule has this name' },
  'declared-schedule': { status: 409, title: 'The schedule is declared in code' },
  'request-timeout': { status: 408, title: 'The request took too long' },
  'payload-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The media type is not supported' },
  'idempotency-mismatch': { status: 422, title: 'The Idempotency-Key was used with another body' },
  'rate-limited': { status: 429, title: 'There were too many requests' },
  'quota-exceeded': { status: 429, title: 'Too much is open' },
  'headers-too-large': { status: 431, title: 'The head of the request is too large' },
  'internal-error': { status: 500, title: 'Something went wrong here' },
  'auth-unavailable': { status: 503, title: 'Tokens cannot be judged now' },
  'service-unavailable': { status: 503, title: 'The service cannot answer now' },
} as const;
export type ProblemSlug = keyof typeof PROBLEMS;

/** One place of a request that is wrong. `pointer` is a JSON pointer into the body or query, or the name of a header. */
export interface ProblemIssue {
  pointer: string;
  message: string;
}

/** A problem as RFC 9457 has it. */
export interface Problem {
  type: `urn:longhaul:problem:${ProblemSlug}`;
  title: string;
  status: number;
  detail: string;
  errors?: ProblemIssue[];
  /** The state of the job, where it was in the way. */
  jobStatus?: JobStatus;
  /** The job that is in the way. */
  jobId?: string;
}

/** A refusal that is to reach the client as it is. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  constructor(
    readonly slug: ProblemSlug,
    detail: string,
    readonly more: Pick<Problem, 'errors' | 'jobStatus' | 'jobId'> = {},
    /** Seconds after which it is worth trying again, where that is known. */
    readonly retryAfter?: number,
  ) {
    super(detail);
  }
}

/** The body of a problem. */
export function problemOf(slug: ProblemSlug, detail: string, more: ProblemError['more'] = {}): Problem {
  return { type: `urn:longhaul:problem:${slug}`, ...PROBLEMS[slug], detail, ...more };
}

/** The one answer for a job that is not there and for a job of somebody else. */
export function jobNotFound(): ProblemError {
  return new ProblemError('not-found', 'There is no job of this id.');
}

/** The JSON pointer of a path. */
export function pointerTo(path: (string | number)[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

const MOST_ISSUES = 20;
const LONGEST_POINTER = 500;

/** A request that a schema refuses. */
export function validationError(issues: ProblemIssue[]): ProblemError {
  return new ProblemError('validation-error', '', { errors: issues });
}

/** A problem of places that are wrong. A key can be as long as a body, and is not sent back twenty times. */
export function problemOfIssues(slug: ProblemSlug, issues: ProblemIssue[]): Problem {
  const errors = issues
    .slice(0, MOST_ISSUES)
    .map(({ pointer, message }) => ({ pointer: pointer.slice(0, LONGEST_POINTER), message }));
  const detail = errors.map(({ pointer, message }) => `${pointer || 'body'}: ${message}`).join('; ');
  return problemOf(slug, detail, { errors });
}
