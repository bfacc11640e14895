import { type ErrorCode, type JobFailure, MAX_ERROR_MESSAGE, PermanentError } from '../job/job-errors.js';
import { type Backoff, backoffMs } from './backoff.js';
import { cleanResult, cleanText, type Json } from './clean-json.js';

/** Why an attempt's signal was raised. `lease-lost`: another claim may run, or the database is out of reach. */
export type AbortReason = 'canceled' | 'timeout' | 'lease-lost' | 'shutdown';

/** What an attempt became. */
export type Outcome =
  | { status: 'completed'; result?: Json }
  | { status: 'failed'; error: JobFailure }
  | { status: 'retrying'; error: JobFailure; delayMs: number }
  | { status: 'paused' }
  /** A cancel or a newer claim owns the task: there is nothing to write. */
  | { status: 'dropped' };

/** What the policies of the job type say about an attempt. */
export interface AttemptPolicy {
  taskId: string;
  /** The number of this attempt, 1 for the first. */
  attempt: number;
  maxAttempts: number;
  backoff: Backoff;
  resumable: boolean;
}

/** The readable text of anything that can be thrown: no stack, bounded, storable. */
export function errorMessage(thrown: unknown): string {
  return cleanText(rawMessage(thrown).slice(0, MAX_ERROR_MESSAGE));
}

function rawMessage(thrown: unknown): string {
  try {
    const said: unknown = thrown instanceof Error ? thrown.message || thrown.name : thrown;
    if (said === undefined || said === null || said === '') return 'The handler failed without a reason.';
    return typeof said === 'string' ? said : (JSON.stringify(said) ?? String(said));
  } catch {
    return 'The handler failed with a value that cannot be shown.';
  }
}

/** Judges an attempt that returned. A cancel beats the return value; so does a lost lease. */
export function outcomeOfReturn(
  value: unknown,
  aborted: AbortReason | undefined,
  policy: AttemptPolicy,
): Outcome {
  if (aborted === 'canceled' || aborted === 'lease-lost') return { status: 'dropped' };
  if (aborted === 'timeout') return failedAttempt('timeout', 'The attempt ran into its timeout.', policy);
  try {
    // A handler that finished although asked to stop has done its work: nothing is gained by repeating it.
    const result = cleanResult(value);
    return result === undefined ? { status: 'completed' } : { status: 'completed', result };
  } catch (error) {
    return { status: 'failed', error: failure('handler_error', errorMessage(error), policy) };
  }
}

/** Judges an attempt that threw. */
export function outcomeOfThrow(
  thrown: unknown,
  aborted: AbortReason | undefined,
  policy: AttemptPolicy,
): Outcome {
  switch (aborted) {
    case 'canceled':
    case 'lease-lost':
      return { status: 'dropped' };
    case 'shutdown':
      if (policy.resumable) return { status: 'paused' };
      return failedAttempt('interrupted', 'The worker stopped before the attempt ended.', policy);
    case 'timeout':
      return failedAttempt('timeout', 'The attempt ran into its timeout.', policy);
    case undefined:
      if (thrown instanceof PermanentError) {
        return { status: 'failed', error: failure('handler_error', errorMessage(thrown), policy) };
      }
      return failedAttempt('handler_error', errorMessage(thrown), policy);
  }
}

/** Judges a task whose lease ended without a word from its worker. Nobody is blamed: its neighbours died with it. */
export function outcomeOfLostLease(
  policy: AttemptPolicy,
): { status: 'queued' } | Extract<Outcome, { status: 'failed' | 'retrying' }> {
  if (policy.resumable) return { status: 'queued' };
  return failedAttempt('crashed', 'The worker died, or was cut off, before the attempt ended.', policy);
}

/** How often a task may die alone before it is taken for the killer. */
export const CRASH_BUDGET = 3;

/** What a death alone made of a task; `charged` tells whether it also costs an attempt. */
export type LoneDeathOutcome = Extract<Outcome, { status: 'failed' | 'retrying' }> & { charged: boolean };

/**
 * Judges a task whose process died while nothing else ran in it. A resumable task pays no attempt, but every death
 * counts against the budget.
 * @param crashes earlier deaths of that kind
 * @param how what the process left, such as `signal SIGKILL` or `exit code 1`
 */
export function outcomeOfLoneDeath(
  policy: AttemptPolicy & { crashes: number },
  how: string,
): LoneDeathOutcome {
  const deaths = policy.crashes + 1;
  const message = `Its process died ${deaths === 1 ? 'once' : `${deaths} times`} (${how}) while it ran alone.`;
  const spent = deaths >= CRASH_BUDGET || (!policy.resumable && policy.attempt >= policy.maxAttempts);
  if (spent) {
    const code = deaths > 1 ? 'crash_loop' : 'crashed';
    return { status: 'failed', error: failure(code, message, policy), charged: true };
  }
  const delayMs = backoffMs(policy.backoff, policy.resumable ? deaths : policy.attempt);
  return {
    status: 'retrying',
    error: failure('crashed', message, policy),
    delayMs,
    charged: !policy.resumable,
  };
}

function failedAttempt(
  code: ErrorCode,
  message: string,
  policy: AttemptPolicy,
): Extract<Outcome, { status: 'failed' | 'retrying' }> {
  const error = failure(code, message, policy);
  if (policy.attempt >= policy.maxAttempts) return { status: 'failed', error };
  return { status: 'retrying', error, delayMs: backoffMs(policy.backoff, policy.attempt) };
}

function failure(code: ErrorCode, message: string, policy: AttemptPolicy): JobFailure {
  return { code, message, taskId: policy.taskId, attempt: policy.attempt };
}
