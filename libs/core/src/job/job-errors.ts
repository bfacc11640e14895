/** The closed list of reasons for which a job or task fails. */
export const ERROR_CODES = [
  'handler_error',
  'timeout',
  'interrupted',
  'crashed',
  'crash_loop',
  'catalog_rejected',
  'invalid_payload',
  'missed_deadline',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Why a job or task failed, as clients see it. */
export interface JobFailure {
  code: ErrorCode;
  /** Readable text of at most MAX_ERROR_MESSAGE characters, without stack. */
  message: string;
  taskId?: string;
  attempt?: number;
}

/** Characters of an error message that are kept. */
export const MAX_ERROR_MESSAGE = 2000;

/** Thrown by a handler whose failure no further attempt can mend: the task fails at once. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** A submitted job that cannot be accepted. Nothing was written. */
export class InvalidJobError extends Error {
  override readonly name = 'InvalidJobError';
  /** `pointer` is a JSON pointer into the submitted body. */
  constructor(
    readonly issues: { pointer: string; message: string }[],
    readonly code: 'validation-error' | 'unknown-job-type' | 'too-many-tasks' = 'validation-error',
  ) {
    super(issues.map((issue) => `${issue.pointer || '(body)'}: ${issue.message}`).join('; '));
  }
}

/** Another open job holds a key of this one: its own `dedupeKey`, or that of a type which runs one job at a time. */
export class DuplicateJobError extends Error {
  override readonly name = 'DuplicateJobError';
  /** @param jobId the open job; undefined when it is of another owner */
  constructor(readonly jobId: string | undefined) {
    super(`${jobId === undefined ? 'A job of another owner' : `Job ${jobId}`} is open and must end first.`);
  }
}

/** The owner would have more open than is allowed. Nothing was written. */
export class QuotaExceededError extends Error {
  override readonly name = 'QuotaExceededError';
  constructor(
    readonly of: 'jobs' | 'tasks' | 'schedules' | 'webhooks',
    readonly most: number,
  ) {
    super(
      of === 'schedules' || of === 'webhooks'
        ? `An owner has at most ${most} ${of}.`
        : `At most ${most} ${of} may be open at a time.`,
    );
  }

  /** Whether there will be room in a while: jobs end by themselves, while schedules and webhooks stay. */
  get passes(): boolean {
    return this.of === 'jobs' || this.of === 'tasks';
  }
}

/** The same Idempotency-Key came with another body. */
export class IdempotencyMismatchError extends Error {
  override readonly name = 'IdempotencyMismatchError';
  constructor() {
    super('This Idempotency-Key was used before with another body.');
  }
}

/** A list would take too long to read: too many jobs fit one of its filters and not the others. */
export class ListTooWideError extends Error {
  override readonly name = 'ListTooWideError';
  constructor() {
    super(
      'Too many jobs would have to be looked at for this list. Narrow it by time (from, to), or use one filter.',
    );
  }
}
