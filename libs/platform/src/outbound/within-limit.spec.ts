import { once } from 'node:events';
import { expect, test } from '@jest/globals';
import { collectGarbage } from '../../../../test/support/collect-garbage.js';
import { eventually } from '../../../../test/support/eventually.js';
import { withinLimit } from './within-limit.js';

const never = new AbortController().signal;
/** Ends when the signal says so. */
const heeding = async (limit: AbortSignal): Promise<never> => {
  if (!limit.aborted) await once(limit, 'abort');
  throw limit.reason;
};

test('a limit holds, however often garbage is collected meanwhile', async () => {
  const reasons: unknown[] = [];
  const work = withinLimit(200, never, heeding).catch((reason: Error) => reasons.push(reason.name));
  await eventually(() => {
    collectGarbage();
    expect(reasons).toEqual(['TimeoutError']);
  });
  await work;
});

test('a stop ends it with its reason, also one that was before', async () => {
  const stop = new AbortController();
  const work = withinLimit(3_600_000, stop.signal, heeding);
  stop.abort('stopped');
  await expect(work).rejects.toBe('stopped');
  await expect(withinLimit(3_600_000, stop.signal, heeding)).rejects.toBe('stopped');
});

test('it answers what was done, and leaves the signal alone', async () => {
  let given = never;
  const done = await withinLimit(3_600_000, never, async (limit) => {
    given = limit;
    return 'done';
  });
  expect([done, given.aborted]).toEqual(['done', false]);
});
