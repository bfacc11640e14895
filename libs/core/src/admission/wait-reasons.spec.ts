import { describe, expect, test } from '@jest/globals';
import { explainWait, WAIT_CODES, type WaitCode, type WaitFacts } from './wait-reasons.js';

const NOW = new Date('2030-01-01T12:00:00Z');
const LATER = new Date('2030-01-01T12:05:00Z');
const PAST = new Date('2030-01-01T11:00:00Z');

const waiting = (over: Partial<NonNullable<WaitFacts['waiting']>> = {}) => ({
  held: true,
  retryAt: null,
  attempt: 0,
  error: null,
  ...over,
});
/** A job whose only task is sent, and would run as soon as a slot is free. */
const READY: WaitFacts = {
  status: 'queued',
  type: 'test.type',
  queue: 'default',
  runAt: null,
  waiting: waiting({ held: false }),
  pauses: [],
  slots: 4,
  typeIsKnown: true,
  redisIsAway: false,
  holder: null,
  concurrency: null,
  owner: null,
  rate: null,
  ahead: 0,
  sent: 0,
  perSecond: 0,
  finalization: null,
};
const finalizing = (over: Partial<NonNullable<WaitFacts['finalization']>>): Partial<WaitFacts> => ({
  status: 'finalizing',
  waiting: null,
  finalization: { nextAt: LATER, calls: 3, lastError: 'it answered 500', circuitUntil: null, ...over },
});

/** What is said of an exclusive type that runs a job. */
const messageOf = (jobId: string | null) =>
  explainWait({ ...READY, waiting: waiting(), holder: { jobId } }, NOW).reasons[0]?.message;

/** What each state must be told as, and whether a start can be told. */
const STATES: [string, Partial<WaitFacts>, WaitCode[], Date | null][] = [
  ['a job that is due later', { status: 'scheduled', runAt: LATER, waiting: null }, ['scheduled'], LATER],
  [
    'an attempt that failed',
    { waiting: waiting({ held: false, retryAt: LATER, attempt: 1 }) },
    ['retry-delay'],
    LATER,
  ],
  [
    'an attempt that failed, and whose delay is over',
    { waiting: waiting({ retryAt: PAST, attempt: 1 }) },
    ['turn'],
    NOW,
  ],
  [
    'a paused tag',
    { waiting: waiting(), pauses: [{ kind: 'tag', reason: 'An incident.', until: null }] },
    ['paused-tag', 'turn'],
    null,
  ],
  [
    'a paused type with an end',
    { waiting: waiting(), pauses: [{ kind: 'type', reason: null, until: LATER }] },
    ['paused-type', 'turn'],
    LATER,
  ],
  [
    'a tag without a worker',
    { waiting: waiting(), slots: 0, typeIsKnown: false },
    ['no-worker', 'turn'],
    null,
  ],
  [
    'workers of an old version',
    { waiting: waiting(), typeIsKnown: false },
    ['no-worker-of-type', 'turn'],
    null,
  ],
  ['a Redis that is away', { waiting: waiting(), redisIsAway: true }, ['redis-away', 'turn'], null],
  [
    'an exclusive type that runs',
    { waiting: waiting(), holder: { jobId: 'j1' } },
    ['exclusive', 'turn'],
    null,
  ],
  [
    'a type at its limit',
    { waiting: waiting(), concurrency: { limit: 2, used: 2 } },
    ['concurrency', 'turn'],
    null,
  ],
  ['a type below its limit', { waiting: waiting(), concurrency: { limit: 2, used: 1 } }, ['turn'], NOW],
  [
    'an owner at its limit',
    { waiting: waiting(), owner: { limit: 5, used: 5 } },
    ['owner-limit', 'turn'],
    null,
  ],
  [
    'a rate that is used up',
    { waiting: waiting(), rate: { max: 3, used: 3, freeAt: LATER } },
    ['rate-limit', 'turn'],
    LATER,
  ],
  [
    'turns of others',
    { waiting: waiting(), ahead: 30, perSecond: 10 },
    ['turn'],
    new Date(NOW.getTime() + 3000),
  ],
  ['turns of others at no known rate', { waiting: waiting(), ahead: 30 }, ['turn'], null],
  ['a task that is sent', { sent: 20, perSecond: 10 }, ['slot'], new Date(NOW.getTime() + 2000)],
  ['a Catalog that is spared', finalizing({ circuitUntil: LATER, nextAt: PAST }), ['catalog-circuit'], null],
  ['a Catalog that is asked again', finalizing({}), ['catalog-retry'], null],
  ['a job that is being told to the Catalog', finalizing({ nextAt: PAST }), [], null],
  [
    'a job of which all that is open runs, of a type that is paused',
    { status: 'active', waiting: null, pauses: [{ kind: 'type', reason: null, until: null }] },
    [],
    null,
  ],
  [
    'a job that has ended',
    { status: 'completed', waiting: null, pauses: [{ kind: 'type', reason: null, until: null }] },
    [],
    null,
  ],
];

describe('why a job waits', () => {
  test.each(STATES)('is told of %s', (_state, over, codes, estimatedStart) => {
    const explanation = explainWait({ ...READY, ...over }, NOW);
    expect(explanation.reasons.map(({ code }) => code)).toEqual(codes);
    expect(explanation.estimatedStart).toEqual(estimatedStart);
  });

  test('is told for each reason that there is, in words that say what would end it', () => {
    const told = STATES.flatMap(([, over]) => explainWait({ ...READY, ...over }, NOW).reasons);
    expect(new Set(told.map(({ code }) => code))).toEqual(new Set(WAIT_CODES));
    for (const { message } of told) expect(message).toMatch(/\S+ .+\.$/);
  });

  test('tells all that holds a job, in the order of the list', () => {
    const { reasons } = explainWait(
      {
        ...READY,
        waiting: waiting({ retryAt: LATER, attempt: 2 }),
        pauses: [
          { kind: 'type', reason: null, until: null },
          { kind: 'tag', reason: null, until: null },
        ],
        slots: 0,
        concurrency: { limit: 1, used: 1 },
      },
      NOW,
    );
    expect(reasons.map(({ code }) => code)).toEqual([
      'retry-delay',
      'paused-tag',
      'paused-type',
      'no-worker',
      'concurrency',
    ]);
  });

  test('names the job that runs only where it is of the same owner', () => {
    expect(messageOf('j1')).toContain('Job j1 runs now');
    expect(messageOf(null)).toContain('Another one runs now');
  });
});
