import { expect, test } from '@jest/globals';
import { cursorHead, cursorOf, LONGEST_CURSOR, type LookRange, readCursor } from './live-cursor.js';
import type { SeenTransactions } from './seen-transactions.js';

const KEY = Buffer.alloc(32, 1);

/** What is seen while so many transactions are open, some apart. */
function seen(below: number, open: number): SeenTransactions {
  return {
    below: BigInt(below),
    open: Array.from({ length: open }, (_, at) => BigInt(below - 1 - 7 * (open - 1 - at))),
  };
}

const rangeOf = (open: number): LookRange => ({
  from: seen(4_000_000_000, open),
  to: seen(4_000_000_100, open),
  marks: seen(3_999_999_900, open),
});

test('a cursor names three looks of 500 open transactions each, and fits into an address', () => {
  const range = rangeOf(500);
  const place = { seq: 2n ** 63n - 1n, nth: 100_000 };
  const cursor = cursorOf(cursorHead(KEY, 'feed', range, 1_800_000_000_000), place);
  expect(cursor.length).toBeLessThanOrEqual(LONGEST_CURSOR);
  expect(readCursor(KEY, 'feed', cursor)).toEqual({ ...range, at: 1_800_000_000_000, place });
});

test('one that would be longer is not written', () => {
  expect(cursorHead(KEY, 'feed', rangeOf(3000), 0)).toBe('');
});

test('a cursor of a job is none of the feed', () => {
  const cursor = cursorHead(KEY, 'job', rangeOf(1), 0);
  expect(readCursor(KEY, 'job', cursor)).toBeDefined();
  expect(readCursor(KEY, 'feed', cursor)).toBeUndefined();
});
