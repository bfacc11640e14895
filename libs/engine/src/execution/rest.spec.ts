import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { Rest } from './rest.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** Whether a pause is over by now. */
function watched(pause: Promise<void>) {
  const state = { over: false };
  void pause.then(() => (state.over = true));
  return state;
}

test('a pause lasts as long as it is told to', async () => {
  const pause = watched(new Rest().take(10.5));
  await jest.advanceTimersByTimeAsync(10);
  expect(pause.over).toBe(false);
  await jest.advanceTimersByTimeAsync(1);
  expect(pause.over).toBe(true);
});

test('a pause ends when it is woken, however long it is, and the next one is whole', async () => {
  const rest = new Rest();
  const first = watched(rest.take(Infinity));
  await jest.advanceTimersByTimeAsync(1_000_000);
  expect(first.over).toBe(false);
  rest.wake();
  await jest.advanceTimersByTimeAsync(0);
  expect([first.over, jest.getTimerCount()]).toEqual([true, 0]);
  const next = watched(rest.take(5));
  await jest.advanceTimersByTimeAsync(4);
  expect(next.over).toBe(false);
});

test('what wakes while there is no pause leaves out the next one, and no other', async () => {
  const rest = new Rest();
  rest.wake();
  rest.wake();
  await rest.take(Infinity);
  const next = watched(rest.take(Infinity));
  await jest.advanceTimersByTimeAsync(0);
  expect(next.over).toBe(false);
});
