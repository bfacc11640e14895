import { describe, expect, test } from '@jest/globals';
import {
  isFinalTaskStatus,
  nextTaskStatus,
  TASK_STATUSES,
  TASK_TRANSITIONS,
  type TaskEvent,
  taskSourcesOf,
  type TaskStatus,
} from './task-state.js';

/** The design's section 3, written out by hand: `from event to`, one move per line. */
const MOVES = `
  queued   claim     active
  queued   cancel    canceled
  retrying claim     active
  retrying cancel    canceled
  paused   claim     active
  paused   cancel    canceled
  active   complete  completed
  active   fail      failed
  active   retry     retrying
  active   hand-back paused
  active   expire    queued
  active   cancel    canceled
  failed   reopen    queued
  canceled reopen    queued
`
  .trim()
  .split('\n')
  .map((line) => line.trim().split(/ +/) as [TaskStatus, TaskEvent, TaskStatus]);

const EVENTS: TaskEvent[] = ['claim', 'complete', 'fail', 'retry', 'hand-back', 'expire', 'cancel', 'reopen'];
const PAIRS = TASK_STATUSES.flatMap((from) => EVENTS.map((event) => [from, event] as const));

describe('the state machine of a task', () => {
  test('has the events that this test walks, and no other', () => {
    expect(Object.keys(TASK_TRANSITIONS).toSorted()).toEqual(EVENTS.toSorted());
  });

  test.each(PAIRS)('in %s, the event %s leads where the design says, or is refused', (from, event) => {
    const expected = MOVES.find(([source, name]) => source === from && name === event)?.[2];
    expect(nextTaskStatus(from, event)).toBe(expected);
  });

  test('changes the state with every accepted event', () => {
    for (const [from, event] of PAIRS) expect(nextTaskStatus(from, event)).not.toBe(from);
  });

  test.each(TASK_STATUSES)('knows whether %s is final', (status) => {
    expect(isFinalTaskStatus(status)).toBe(['completed', 'failed', 'canceled'].includes(status));
  });

  test('leaves a final state by nothing but a reopening, and completed not even so', () => {
    for (const [from, event] of PAIRS.filter(([status]) => isFinalTaskStatus(status))) {
      const left = nextTaskStatus(from, event) !== undefined;
      expect({ from, event, left }).toEqual({
        from,
        event,
        left: event === 'reopen' && from !== 'completed',
      });
    }
  });

  test('cancels every state that is not final', () => {
    expect(taskSourcesOf('cancel')).toEqual(TASK_STATUSES.filter((status) => !isFinalTaskStatus(status)));
  });

  test('accepts what a worker reports from a running attempt only', () => {
    for (const event of ['complete', 'fail', 'retry', 'hand-back', 'expire'] as const) {
      expect({ event, sources: taskSourcesOf(event) }).toEqual({ event, sources: ['active'] });
    }
  });

  test('makes a task active by a claim and by nothing else', () => {
    const ways = PAIRS.filter(([from, event]) => nextTaskStatus(from, event) === 'active');
    expect(new Set(ways.map(([, event]) => event))).toEqual(new Set(['claim']));
  });

  test('can claim a task wherever it waits, so that none is stranded', () => {
    const waiting = TASK_STATUSES.filter((status) => status !== 'active' && !isFinalTaskStatus(status));
    expect(taskSourcesOf('claim')).toEqual(waiting);
  });

  test('has no state in which both a claim and a reopening are accepted', () => {
    expect(taskSourcesOf('claim').filter((status) => taskSourcesOf('reopen').includes(status))).toEqual([]);
  });

  test.each(EVENTS)('gives as the sources of %s exactly the states that accept it, each once', (event) => {
    const accepting = TASK_STATUSES.filter((status) => nextTaskStatus(status, event) !== undefined);
    expect(taskSourcesOf(event)).toEqual(accepting);
    expect(accepting.length).toBeGreaterThan(0);
  });
});
