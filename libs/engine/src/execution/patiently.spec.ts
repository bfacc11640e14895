import { describe, expect, test } from '@jest/globals';
import type { ClaimedTask } from '../store/claim-tasks.js';
import { EffectError } from '../store/commit-effect.js';
import { patiently } from './patiently.js';
import { RunningTask } from './running-tasks.js';

const outage = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
const attempt = () => new RunningTask({ taskId: 't', jobId: 'j', generation: 1 } as ClaimedTask, 0);

describe('a write of a handler', () => {
  test('is repeated while Postgres is away', async () => {
    let tries = 0;
    const write = () => (++tries < 3 ? Promise.reject(outage) : Promise.resolve('written'));
    expect(await patiently(attempt(), write)).toBe('written');
    expect(tries).toBe(3);
  });

  test('is not repeated for any other reason', async () => {
    let tries = 0;
    const write = () => Promise.reject(new Error(`broken ${++tries}`));
    await expect(patiently(attempt(), write)).rejects.toThrow('broken 1');
    expect(tries).toBe(1);
  });

  test.each([
    ['a time limit of Postgres', Object.assign(new Error('canceling statement'), { code: '57014' })],
    ['a request of an effect to somebody else', new EffectError(outage)],
  ])('is not repeated for %s', async (_what, error) => {
    let tries = 0;
    const write = () => (tries++, Promise.reject(error));
    await expect(patiently(attempt(), write)).rejects.toBe(error instanceof EffectError ? outage : error);
    expect(tries).toBe(1);
  });

  test('ends with the signal of its attempt', async () => {
    const running = attempt();
    const write = () => {
      running.abort('lease-lost');
      return Promise.reject(outage);
    };
    await expect(patiently(running, write)).rejects.toThrow('lease-lost');
  });
});
