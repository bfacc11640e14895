import { describe, expect, test } from '@jest/globals';
import { type Backoff, backoffMs, DEFAULT_BACKOFF } from './backoff.js';

const ALMOST_ONE = 1 - Number.EPSILON / 2;
const EXPONENTIAL: Backoff = { kind: 'exponential', baseMs: 100, capMs: 1_000 };

describe('an exponential backoff', () => {
  test('doubles its bound with every attempt until the cap', () => {
    const bounds = [1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(EXPONENTIAL, attempt, () => ALMOST_ONE) + 1);
    expect(bounds).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  test('draws from zero up to the bound in proportion to the random number', () => {
    const delays = [0, 0.25, 0.5, 0.75].map((drawn) => backoffMs(EXPONENTIAL, 3, () => drawn));
    expect(delays).toEqual([0, 100, 200, 300]);
  });

  test('is a whole number of milliseconds between zero and the cap for every attempt', () => {
    const backoff: Backoff = { kind: 'exponential', baseMs: 7, capMs: 12_345 };
    const delays = Array.from({ length: 1_100 }, (_, at) => at + 1).flatMap((attempt) =>
      [0, 0.333, 0.5, ALMOST_ONE].map((drawn) => backoffMs(backoff, attempt, () => drawn)),
    );
    expect(delays.filter((delay) => !(Number.isInteger(delay) && delay >= 0 && delay <= 12_345))).toEqual([]);
  });

  test('never has a smaller bound for a later attempt', () => {
    for (let attempt = 1; attempt < 100; attempt++) {
      const [earlier, later] = [attempt, attempt + 1].map((n) =>
        backoffMs(DEFAULT_BACKOFF, n, () => ALMOST_ONE),
      );
      expect(later).toBeGreaterThanOrEqual(earlier ?? Number.NaN);
    }
  });

  test('keeps tasks that failed together from returning together', () => {
    const delays = new Set(Array.from({ length: 100 }, () => backoffMs(DEFAULT_BACKOFF, 9)));
    expect(delays.size).toBeGreaterThan(50);
  });

  test('waits nothing when its base is zero', () => {
    const none: Backoff = { kind: 'exponential', baseMs: 0, capMs: 1_000 };
    expect(backoffMs(none, 5, () => ALMOST_ONE)).toBe(0);
  });

  test('is by default one second doubling up to five minutes', () => {
    const bounds = [1, 2, 9, 10, 11].map(
      (attempt) => backoffMs(DEFAULT_BACKOFF, attempt, () => ALMOST_ONE) + 1,
    );
    expect(bounds).toEqual([1_000, 2_000, 256_000, 300_000, 300_000]);
  });
});

describe('a fixed backoff', () => {
  const fixed: Backoff = { kind: 'fixed', baseMs: 250, capMs: 1_000 };

  test('waits the same after every attempt, whatever is drawn', () => {
    for (let attempt = 1; attempt <= 40; attempt++) {
      for (const drawn of [0, 0.5, ALMOST_ONE]) expect(backoffMs(fixed, attempt, () => drawn)).toBe(250);
    }
  });

  test('never waits longer than its cap', () => {
    expect(backoffMs({ ...fixed, capMs: 100 }, 1)).toBe(100);
  });
});
