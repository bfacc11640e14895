import { expect, test } from '@jest/globals';
import { MOST_TRIES, pauseAfter } from './try-pauses.js';

test('eight tries over many hours, each later than the one before by far, and not all at one moment', () => {
  const seconds = Array.from({ length: MOST_TRIES }, (_, nth) => pauseAfter(nth + 1, 5, 0.5));
  expect(seconds).toEqual([5, 30, 300, 1800, 7200, 18_000, 36_000, undefined]);
  expect(pauseAfter(1, 5000, 0)).toBeCloseTo(4000);
  expect(pauseAfter(1, 5000, 1)).toBeCloseTo(6000);
});
