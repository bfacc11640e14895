import { describe, expect, jest, test } from '@jest/globals';
import { Intake, type Tap } from './intake.js';

/** A tap that notes what it was told. */
class TestTap implements Tap {
  concurrency = 0;
  readonly told: string[] = [];
  pause() {
    this.told.push('pause');
  }
  wake() {
    this.told.push('wake');
  }
}

function intakeOf(slots: number, queues: number) {
  const intake = new Intake(slots);
  const taps = Array.from({ length: queues }, () => new TestTap());
  for (const tap of taps) intake.add(tap);
  return { intake, taps: taps as [TestTap, TestTap, TestTap] };
}

describe('an intake', () => {
  test('leaves a lone queue to itself', () => {
    const { intake, taps } = intakeOf(3, 1);
    expect(taps[0].concurrency).toBe(3);
    for (let nth = 0; nth < 5; nth++) expect(intake.arrived(taps[0])).toBe(true);
    intake.left(taps[0]);
    expect(taps[0]).toMatchObject({ concurrency: 3, told: [] });
  });

  test('lets every queue ask for one message more than it has, as long as there is a slot', () => {
    const { intake, taps } = intakeOf(3, 2);
    const [one, other] = taps;
    expect([one.concurrency, other.concurrency]).toEqual([1, 1]);
    expect(intake.arrived(one)).toBe(true);
    // In the lead until it finds nothing: it may ask for all.
    expect([one.concurrency, other.concurrency]).toEqual([3, 1]);
    expect(intake.arrived(other)).toBe(true);
    expect(intake.arrived(one)).toBe(true);
    // That was the last slot: it waits, and the other one may have asked already.
    expect([one.concurrency, other.concurrency]).toEqual([2, 2]);
    expect(intake.arrived(other)).toBe(false);
    expect(other).toMatchObject({ concurrency: 1, told: [] });
  });

  test('lets a queue that finds messages fill all the slots that came free at once', () => {
    const { intake, taps } = intakeOf(4, 2);
    const [one, other] = taps;
    for (let nth = 0; nth < 4; nth++) intake.arrived(one);
    for (let nth = 0; nth < 3; nth++) intake.left(one);
    expect(one.concurrency).toBe(4);
    intake.arrived(one);
    expect([one.concurrency, other.concurrency]).toEqual([4, 1]);
    intake.dry(one);
    expect([one.concurrency, other.concurrency]).toEqual([3, 1]);
    intake.arrived(other);
    expect([one.concurrency, other.concurrency]).toEqual([3, 2]);
    expect(one.told).toEqual([]);
  });

  test('gives back what comes too late, and lets its queue ask when its turn comes', () => {
    const { intake, taps } = intakeOf(1, 3);
    const [busy, late, later] = taps;
    intake.arrived(busy);
    expect(intake.arrived(late)).toBe(false);
    expect(intake.arrived(later)).toBe(false);
    expect([late.told, later.told]).toEqual([['pause'], ['pause']]);
    // The busy one was the first to wait, and asks by itself.
    intake.left(busy);
    expect(busy.told).toEqual([]);
    expect(intake.arrived(busy)).toBe(true);
    intake.left(busy);
    expect([late.told, later.told]).toEqual([['pause', 'wake'], ['pause']]);
    // Whoever is not called has no room, though the slot is free.
    expect(intake.arrived(busy)).toBe(false);
    expect(intake.arrived(late)).toBe(true);
  });

  test('passes the turn on when there is nothing in a queue, and when it gives no answer', () => {
    jest.useFakeTimers();
    const { intake, taps } = intakeOf(1, 3);
    const [busy, empty, silent] = taps;
    intake.arrived(busy);
    intake.arrived(empty);
    intake.arrived(silent);
    intake.left(busy);
    intake.dry(busy);
    expect(empty.told).toEqual(['pause', 'wake']);
    intake.dry(empty);
    expect(silent.told).toEqual(['pause', 'wake']);
    expect(intake.arrived(busy)).toBe(false);
    jest.advanceTimersByTime(200);
    jest.useRealTimers();
    expect(intake.arrived(busy)).toBe(true);
  });

  test('wakes a queue whose own messages run on when another one frees a slot', () => {
    const { intake, taps } = intakeOf(2, 2);
    const [long, short] = taps;
    intake.arrived(long);
    intake.arrived(short);
    expect(intake.arrived(long)).toBe(false);
    expect(long).toMatchObject({ concurrency: 1, told: [] });
    intake.left(short);
    intake.dry(short);
    expect(long).toMatchObject({ concurrency: 2, told: ['wake'] });
  });

  test('takes nothing once it is closed', () => {
    const { intake, taps } = intakeOf(2, 2);
    intake.close();
    expect(intake.arrived(taps[0])).toBe(false);
    expect(taps[0].told).toEqual([]);
  });
});
