import { beforeEach, describe, expect, test } from '@jest/globals';
import { setImmediate as turn } from 'node:timers/promises';
import { TooManyFailuresError } from './auth-errors.js';
import { DoubtfulKeys } from './doubtful-keys.js';
import { FailedCredentials } from './failed-credentials.js';

let failures: FailedCredentials;
let keys: DoubtfulKeys;
/** Look-ups that are under way, and how to end each. */
let open: (() => void)[];

beforeEach(() => {
  failures = new FailedCredentials();
  keys = new DoubtfulKeys(failures);
  open = [];
});

const look = () => new Promise<void>((resolve) => open.push(resolve));
const lookUps = (count: number, address: string) =>
  Promise.allSettled(Array.from({ length: count }, () => keys.lookUp(address, look)));
async function endAll(): Promise<void> {
  for (; open.length > 0; await turn()) open.splice(0).forEach((end) => end());
}

describe('keys that nobody knows to be right', () => {
  test('are looked up at once, but of an address with too many wrong ones one at a time', async () => {
    for (let nth = 0; nth < 100; nth++) failures.note('a');
    const pestering = lookUps(50, 'a');
    const others = lookUps(50, 'b');
    await turn();
    expect(open).toHaveLength(51);
    await endAll();
    for (const answers of [await pestering, await others])
      expect(answers.every(({ status }) => status === 'fulfilled')).toBe(true);
  });

  test('count while they are looked up, also before one of them was found to be wrong', async () => {
    const burst = lookUps(150, 'a');
    await turn();
    expect(open).toHaveLength(101);
    await endAll();
    expect((await burst).every(({ status }) => status === 'fulfilled')).toBe(true);
    const next = lookUps(2, 'a');
    await turn();
    expect(open).toHaveLength(2);
    await endAll();
    await next;
  });

  test('are refused unseen when a hundred wait, and the lane goes on when a look-up fails', async () => {
    for (let nth = 0; nth < 100; nth++) failures.note('a');
    const failing = keys.lookUp('a', () => Promise.reject(new Error('no database')));
    const flood = lookUps(5000, 'a');
    await expect(failing).rejects.toThrow('no database');
    await endAll();
    const answers = await flood;
    const refused = answers.filter(({ status }) => status === 'rejected');
    expect(answers.length - refused.length).toBe(99);
    expect(refused[0]).toMatchObject({ reason: expect.any(TooManyFailuresError) });
    const after = lookUps(1, 'a');
    await turn();
    await endAll();
    expect(await after).toMatchObject([{ status: 'fulfilled' }]);
  });
});
