import { describe, expect, test } from '@jest/globals';
import { type AbortReason, PermanentError } from '@app/core';
import { SandboxStartError } from '../sandbox/sandbox-process.js';
import { LoneDeathError } from '../sandbox/sandboxed-attempt.js';
import { type Ended, judgeAttempt } from './judge-attempt.js';

const POLICY = {
  taskId: 't',
  attempt: 1,
  maxAttempts: 3,
  backoff: { kind: 'fixed', baseMs: 50, capMs: 50 } as const,
  resumable: false,
  crashes: 0,
};
const threw = (error: unknown): Ended => ({ kind: 'threw', error });
const DEATH = new LoneDeathError('signal SIGKILL');

/** `status code charged suspicion`, as far as they are there. */
const gist = (ended: Ended, aborted?: AbortReason, over: Partial<typeof POLICY> = {}) => {
  const { outcome, more } = judgeAttempt(ended, aborted, { ...POLICY, ...over }, (text) => text);
  const code = 'error' in outcome ? outcome.error.code : '';
  return [outcome.status, code, more.charged ? 'charged' : 'free', more.suspicion ?? 'kept']
    .filter(Boolean)
    .join(' ');
};

describe('an attempt', () => {
  test.each<[string, Ended, AbortReason | undefined, string]>([
    ['that returned', { kind: 'returned', value: 1 }, undefined, 'completed charged cleared'],
    ['that threw', threw(new Error('x')), undefined, 'retrying handler_error charged cleared'],
    [
      'that failed for good',
      threw(new PermanentError('x')),
      undefined,
      'failed handler_error charged cleared',
    ],
    ['that stopped at its timeout', threw(new Error('x')), 'timeout', 'retrying timeout charged cleared'],
    ['that was killed at its timeout', { kind: 'killed' }, 'timeout', 'retrying timeout charged kept'],
    ['that nothing can stop', { kind: 'unstoppable' }, 'timeout', 'retrying timeout charged kept'],
    [
      'whose process could not start',
      threw(new SandboxStartError('x')),
      undefined,
      'retrying handler_error charged kept',
    ],
    ['that died alone', threw(DEATH), undefined, 'retrying crashed charged alone'],
    ['that was killed as its worker stopped', threw(DEATH), 'shutdown', 'retrying interrupted charged kept'],
  ])('%s', (_what, ended, aborted, expected) => {
    expect(gist(ended, aborted)).toBe(expected);
  });

  test('feature 32: that is resumable pays nothing for a stop or a death alone, and is suspected as before', () => {
    expect(gist({ kind: 'killed' }, 'shutdown', { resumable: true })).toBe('paused free kept');
    expect(gist(threw(DEATH), undefined, { resumable: true })).toBe('retrying crashed free alone');
    expect(gist(threw(DEATH), undefined, { resumable: true, crashes: 2 })).toBe(
      'failed crash_loop charged alone',
    );
  });
});
