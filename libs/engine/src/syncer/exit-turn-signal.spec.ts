import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { ExitTurnSignal } from './exit-turn-signal.js';

const LEASE = 3000;
const LIMIT = 60_000;
const GRACE = 500;
jest.useFakeTimers();

const stop = () => new AbortController();
let open: ExitTurnSignal[] = [];
const turnOf = (renew: () => Promise<boolean>, stopping = stop().signal) => {
  const turn = new ExitTurnSignal(LEASE, LIMIT, stopping, renew);
  open.push(turn);
  return turn;
};
afterEach(() => {
  for (const turn of open) turn.close();
  open = [];
  expect(jest.getTimerCount()).toBe(0);
});
const never = new Promise<void>(() => {});

describe('feature 30: the signal of an exit hook', () => {
  test('is raised at its limit, however well the turn is renewed', async () => {
    const turn = turnOf(async () => true);
    await jest.advanceTimersByTimeAsync(LIMIT - 1);
    expect(turn.ended).toBeUndefined();
    await jest.advanceTimersByTimeAsync(1);
    expect([turn.ended, turn.signal.aborted]).toEqual(['limit', true]);
  });

  test('is raised when another one has the turn', async () => {
    const turn = turnOf(async () => false);
    await jest.advanceTimersByTimeAsync(LEASE / 3);
    expect(turn.ended).toBe('lost');
  });

  test('is raised before the lease ends when no renewal is answered', async () => {
    const turn = turnOf(() => Promise.reject(new Error('away')));
    await jest.advanceTimersByTimeAsync(LEASE * 0.8);
    expect(turn.ended).toBeUndefined();
    await jest.advanceTimersByTimeAsync(LEASE * 0.1);
    expect(turn.ended).toBe('lost');
  });

  test('is raised when the process stops, also when it has stopped before', () => {
    const stopping = stop();
    const turn = turnOf(async () => true, stopping.signal);
    stopping.abort();
    expect([turn.ended, turnOf(async () => true, stopping.signal).ended]).toEqual(['stop', 'stop']);
  });

  test('is not waited for beyond the grace of a hook that does not look at it', async () => {
    const stopping = stop();
    const turn = turnOf(async () => true, stopping.signal);
    const end = turn.within(never, GRACE).catch((error: Error) => error.name);
    stopping.abort();
    await jest.advanceTimersByTimeAsync(GRACE);
    expect(await end).toBe('AbortError');
  });

  test('leaves a hook that ends in time its own end', async () => {
    const stopping = stop();
    const turn = turnOf(async () => true, stopping.signal);
    expect(await turn.within(Promise.resolve('done'), GRACE)).toBe('done');
    await expect(turn.within(Promise.reject(new Error('broken')), GRACE)).rejects.toThrow('broken');
    stopping.abort();
    expect(await turn.within(Promise.resolve('late'), GRACE)).toBe('late');
  });
});
