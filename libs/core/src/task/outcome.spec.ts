import { describe, expect, test } from '@jest/globals';
import { MAX_ERROR_MESSAGE, PermanentError } from '../job/job-errors.js';
import { MAX_RESULT_BYTES } from './clean-json.js';
import {
  type AbortReason,
  type AttemptPolicy,
  CRASH_BUDGET,
  errorMessage,
  type Outcome,
  outcomeOfLoneDeath,
  outcomeOfLostLease,
  outcomeOfReturn,
  outcomeOfThrow,
} from './outcome.js';

const POLICY: AttemptPolicy = {
  taskId: 'task-1',
  attempt: 1,
  maxAttempts: 3,
  backoff: { kind: 'fixed', baseMs: 50, capMs: 1_000 },
  resumable: false,
};
const LAST: AttemptPolicy = { ...POLICY, attempt: 3 };
const RESUMABLE: AttemptPolicy = { ...POLICY, resumable: true };
const REASONS: (AbortReason | undefined)[] = [undefined, 'canceled', 'timeout', 'lease-lost', 'shutdown'];
const POLICIES = [POLICY, LAST, RESUMABLE, { ...LAST, resumable: true }];

/** What an outcome says in two words: the status, and the code where there is an error. */
function gist(outcome: Outcome | { status: 'queued' }): string {
  return 'error' in outcome ? `${outcome.status} ${outcome.error.code}` : outcome.status;
}

describe('an attempt that returned', () => {
  test.each<[AbortReason | undefined, string, string]>([
    [undefined, 'completed', 'completed'],
    ['canceled', 'dropped', 'dropped'],
    ['lease-lost', 'dropped', 'dropped'],
    ['timeout', 'retrying timeout', 'failed timeout'],
    ['shutdown', 'completed', 'completed'],
  ])('after the abort %s is %s, and on its last attempt %s', (aborted, early, last) => {
    expect(gist(outcomeOfReturn('done', aborted, POLICY))).toBe(early);
    expect(gist(outcomeOfReturn('done', aborted, LAST))).toBe(last);
  });

  test('carries its result, cleaned', () => {
    expect(outcomeOfReturn({ a: 1n, b: '\u0000' }, undefined, POLICY)).toEqual({
      status: 'completed',
      result: { a: '1', b: '\uFFFD' },
    });
  });

  test.each([null, 0, false, ''])('keeps the result %j, which is not nothing', (value) => {
    expect(outcomeOfReturn(value, undefined, POLICY)).toEqual({ status: 'completed', result: value });
  });

  test('has no result when the handler returned nothing', () => {
    expect(outcomeOfReturn(undefined, undefined, POLICY)).toStrictEqual({ status: 'completed' });
  });

  test('fails for good when its result is too large, since a repetition would make it again', () => {
    const outcome = outcomeOfReturn('x'.repeat(MAX_RESULT_BYTES), undefined, POLICY);
    expect(outcome).toEqual({
      status: 'failed',
      error: {
        code: 'handler_error',
        message: 'The result has 65538 bytes of JSON; at most 65536 are kept.',
        taskId: 'task-1',
        attempt: 1,
      },
    });
  });

  test('fails for good when its result cannot be written as JSON', () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(gist(outcomeOfReturn(cycle, undefined, POLICY))).toBe('failed handler_error');
  });

  test('is not even looked at after a cancel', () => {
    expect(gist(outcomeOfReturn('x'.repeat(MAX_RESULT_BYTES), 'canceled', POLICY))).toBe('dropped');
  });
});

describe('an attempt that threw', () => {
  test.each<[AbortReason | undefined, string, string, string]>([
    [undefined, 'retrying handler_error', 'failed handler_error', 'retrying handler_error'],
    ['canceled', 'dropped', 'dropped', 'dropped'],
    ['lease-lost', 'dropped', 'dropped', 'dropped'],
    ['timeout', 'retrying timeout', 'failed timeout', 'retrying timeout'],
    ['shutdown', 'retrying interrupted', 'failed interrupted', 'paused'],
  ])(
    'after the abort %s is %s, on its last attempt %s, if resumable %s',
    (aborted, early, last, resumable) => {
      const thrown = new Error('no');
      expect(gist(outcomeOfThrow(thrown, aborted, POLICY))).toBe(early);
      expect(gist(outcomeOfThrow(thrown, aborted, LAST))).toBe(last);
      expect(gist(outcomeOfThrow(thrown, aborted, RESUMABLE))).toBe(resumable);
    },
  );

  test('names the task, the attempt and what was thrown', () => {
    expect(outcomeOfThrow(new Error('disk full'), undefined, { ...POLICY, attempt: 2 })).toEqual({
      status: 'retrying',
      error: { code: 'handler_error', message: 'disk full', taskId: 'task-1', attempt: 2 },
      delayMs: 50,
    });
  });

  test('is not repeated after a PermanentError, whatever attempts are left', () => {
    for (const policy of POLICIES) {
      expect(gist(outcomeOfThrow(new PermanentError('bad input'), undefined, policy))).toBe(
        'failed handler_error',
      );
    }
  });

  test('is judged by its abort even when a PermanentError came out of it', () => {
    for (const aborted of REASONS.slice(1)) {
      const plain = outcomeOfThrow(new Error('x'), aborted, POLICY);
      expect(outcomeOfThrow(new PermanentError('x'), aborted, POLICY)).toEqual(plain);
    }
  });

  test('is paused on shutdown even on its last attempt, because a resumable stop costs none', () => {
    expect(gist(outcomeOfThrow(new Error('x'), 'shutdown', { ...LAST, resumable: true }))).toBe('paused');
  });

  test('is never completed, and waits again exactly when an attempt is left', () => {
    for (const aborted of REASONS) {
      for (const resumable of [true, false]) {
        for (let attempt = 1; attempt <= 5; attempt++) {
          for (let maxAttempts = 1; maxAttempts <= 5; maxAttempts++) {
            const outcome = outcomeOfThrow('x', aborted, { ...POLICY, attempt, maxAttempts, resumable });
            expect(outcome.status).not.toBe('completed');
            if ('error' in outcome) expect(outcome.status === 'retrying').toBe(attempt < maxAttempts);
          }
        }
      }
    }
  });
});

describe('an attempt whose lease ended without a word', () => {
  test('case C12: is tried again while attempts are left, and costs a resumable task nothing', () => {
    expect(gist(outcomeOfLostLease(POLICY))).toBe('retrying crashed');
    expect(gist(outcomeOfLostLease(LAST))).toBe('failed crashed');
    expect(gist(outcomeOfLostLease(RESUMABLE))).toBe('queued');
    expect(gist(outcomeOfLostLease({ ...LAST, resumable: true }))).toBe('queued');
  });
});

describe('a process that died while its task ran alone', () => {
  test.each([
    [0, 'retrying crashed', 'failed crashed', 'retrying crashed'],
    [1, 'retrying crashed', 'failed crash_loop', 'retrying crashed'],
    [2, 'failed crash_loop', 'failed crash_loop', 'failed crash_loop'],
    [3, 'failed crash_loop', 'failed crash_loop', 'failed crash_loop'],
  ])(
    'and %i times before, is %s, on its last attempt %s, if resumable %s',
    (crashes, early, last, resumable) => {
      expect(gist(outcomeOfLoneDeath({ ...POLICY, crashes }, 'exit code 1'))).toBe(early);
      expect(gist(outcomeOfLoneDeath({ ...LAST, crashes }, 'exit code 1'))).toBe(last);
      expect(gist(outcomeOfLoneDeath({ ...LAST, resumable: true, crashes }, 'exit code 1'))).toBe(resumable);
    },
  );

  test('waits as after a failure, says how it died, and costs a resumable task no attempt', () => {
    expect(outcomeOfLoneDeath({ ...POLICY, crashes: 1 }, 'signal SIGKILL')).toEqual({
      status: 'retrying',
      error: {
        code: 'crashed',
        message: 'Its process died 2 times (signal SIGKILL) while it ran alone.',
        taskId: 'task-1',
        attempt: 1,
      },
      delayMs: 50,
      charged: true,
    });
    expect(outcomeOfLoneDeath({ ...RESUMABLE, crashes: 0 }, 'exit code 1')).toMatchObject({
      error: { message: 'Its process died once (exit code 1) while it ran alone.' },
      charged: false,
    });
  });

  test('may happen three times in all', () => {
    expect(CRASH_BUDGET).toBe(3);
  });
});

describe('the message of something thrown', () => {
  class NamelessError extends Error {
    override readonly name = 'NamelessError';
  }
  const none = 'The handler failed without a reason.';
  const opaque = 'The handler failed with a value that cannot be shown.';
  const cycle: unknown[] = [];
  cycle.push(cycle);

  test.each<[string, unknown, string]>([
    ['an error', new TypeError('bad'), 'bad'],
    ['an error without a message', new NamelessError(), 'NamelessError'],
    ['a text', 'bad', 'bad'],
    ['an empty text', '', none],
    ['undefined', undefined, none],
    ['null', null, none],
    ['an object', { code: 7 }, '{"code":7}'],
    ['a number', 0, '0'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['a BigInt', 1n, opaque],
    ['a cycle', cycle, opaque],
    ['an error whose message is an object', Object.assign(new Error(), { message: { a: 1 } }), '{"a":1}'],
    ['a NUL and half a pair', new Error('a\u0000b\ud800'), 'a\uFFFDb\uFFFD'],
  ])('of %s can be read', (_what, thrown, message) => {
    expect(errorMessage(thrown)).toBe(message);
  });

  test('is found even when reading the thrown value throws', () => {
    const hostile = Object.defineProperty(new Error('x'), 'message', {
      get: () => {
        throw new Error('no');
      },
    });
    expect(errorMessage(hostile)).toBe(opaque);
  });

  test('holds no stack', () => {
    expect(errorMessage(new Error('bad'))).not.toContain('outcome.spec');
  });

  test('is cut at its longest, also in the middle of a pair, and stays storable', () => {
    for (let before = MAX_ERROR_MESSAGE - 3; before <= MAX_ERROR_MESSAGE + 1; before++) {
      const message = errorMessage(new Error(`${'x'.repeat(before)}😀 and on`));
      expect(message).toHaveLength(MAX_ERROR_MESSAGE);
      expect({ before, storable: message.isWellFormed() }).toEqual({ before, storable: true });
    }
  });
});
