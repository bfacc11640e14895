import { describe, expect, test } from '@jest/globals';
import {
  isFinalJobStatus,
  JOB_STATUSES,
  JOB_TRANSITIONS,
  type JobEvent,
  jobSourcesOf,
  type JobStatus,
  nextJobStatus,
} from './job-state.js';

/** The design's section 3, written out by hand: `from event to`, one move per line. */
const MOVES = `
  scheduled  due       queued
  scheduled  cancel    canceled
  scheduled  fail      failed
  queued     start     active
  queued     cancel    canceled
  queued     fail      failed
  active     finalize  finalizing
  active     complete  completed
  active     cancel    canceled
  active     fail      failed
  finalizing complete  completed
  finalizing fail      failed
  failed     retry     queued
  failed     refinalize finalizing
  canceled   retry     queued
`
  .trim()
  .split('\n')
  .map((line) => line.trim().split(/ +/) as [JobStatus, JobEvent, JobStatus]);

const EVENTS: JobEvent[] = ['due', 'start', 'finalize', 'complete', 'fail', 'cancel', 'retry', 'refinalize'];
/** The events of an explicit retry, which begins a new generation, and the final states that they leave. */
const RETRIES: JobEvent[] = ['retry', 'refinalize'];
const LEAVING: Partial<Record<JobStatus, JobEvent[]>> = { failed: RETRIES, canceled: ['retry'] };
const PAIRS = JOB_STATUSES.flatMap((from) => EVENTS.map((event) => [from, event] as const));

/** Every state that can follow `from`, one move or many moves later, without the events of `except`. */
function reachable(from: JobStatus, except: JobEvent[] = []): Set<JobStatus> {
  const seen = new Set<JobStatus>();
  const open = [from];
  for (let status = open.pop(); status !== undefined; status = open.pop()) {
    for (const event of EVENTS.filter((name) => !except.includes(name))) {
      const next = nextJobStatus(status, event);
      if (next === undefined || seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return seen;
}

describe('the state machine of a job', () => {
  test('has the events that this test walks, and no other', () => {
    expect(Object.keys(JOB_TRANSITIONS).toSorted()).toEqual(EVENTS.toSorted());
  });

  test.each(PAIRS)('in %s, the event %s leads where the design says, or is refused', (from, event) => {
    const expected = MOVES.find(([source, name]) => source === from && name === event)?.[2];
    expect(nextJobStatus(from, event)).toBe(expected);
  });

  test('names only known states', () => {
    for (const moves of Object.values(JOB_TRANSITIONS)) {
      for (const status of [...Object.keys(moves), ...Object.values(moves)]) {
        expect(JOB_STATUSES).toContain(status);
      }
    }
  });

  test('changes the state with every accepted event', () => {
    for (const [from, event] of PAIRS) expect(nextJobStatus(from, event)).not.toBe(from);
  });

  test.each(['completed', 'failed', 'canceled'] as const)('counts %s as final', (status) => {
    expect(isFinalJobStatus(status)).toBe(true);
  });

  test.each(['scheduled', 'queued', 'active', 'finalizing'] as const)(
    'does not count %s as final',
    (status) => {
      expect(isFinalJobStatus(status)).toBe(false);
    },
  );

  test('leaves a final state by nothing but a retry, and completed not even so', () => {
    for (const [from, event] of PAIRS.filter(([status]) => isFinalJobStatus(status))) {
      const left = nextJobStatus(from, event) !== undefined;
      expect({ from, event, left }).toEqual({ from, event, left: LEAVING[from]?.includes(event) ?? false });
    }
  });

  test('accepts a retry in final states only', () => {
    expect(jobSourcesOf('retry').every(isFinalJobStatus)).toBe(true);
  });

  test('lets every state that is not final reach each of the three ends but for the cancel of finalizing', () => {
    for (const from of JOB_STATUSES.filter((status) => !isFinalJobStatus(status))) {
      const ends = [...reachable(from, RETRIES)].filter(isFinalJobStatus).toSorted();
      const expected = from === 'finalizing' ? ['completed', 'failed'] : ['canceled', 'completed', 'failed'];
      expect({ from, ends }).toEqual({ from, ends: expected });
    }
  });

  test('never comes back to a state within one generation', () => {
    for (const status of JOB_STATUSES) expect(reachable(status, RETRIES)).not.toContain(status);
  });

  test('lists the states in the order in which a job reaches them', () => {
    for (const [from, event] of PAIRS.filter(([, name]) => !RETRIES.includes(name))) {
      const next = nextJobStatus(from, event);
      if (next === undefined) continue;
      expect(JOB_STATUSES.indexOf(next)).toBeGreaterThan(JOB_STATUSES.indexOf(from));
    }
  });

  test('cancels up to the point of no return', () => {
    expect(jobSourcesOf('cancel')).toEqual(['scheduled', 'queued', 'active']);
  });

  test.each(EVENTS)('gives as the sources of %s exactly the states that accept it, each once', (event) => {
    const accepting = JOB_STATUSES.filter((status) => nextJobStatus(status, event) !== undefined);
    expect(jobSourcesOf(event)).toEqual(accepting);
    expect(accepting.length).toBeGreaterThan(0);
  });

  test('keeps the sources of events that lead to one state together disjoint from it', () => {
    for (const event of EVENTS) {
      const targets = new Set(jobSourcesOf(event).map((from) => nextJobStatus(from, event)));
      expect(targets.size).toBe(1);
      for (const source of jobSourcesOf(event)) expect(targets).not.toContain(source);
    }
  });
});
