import { describe, expect, test } from '@jest/globals';
import { type Json, type JobView, jobTypePolicy, PermanentError, type TaskContext } from '@app/core';
import type { z } from 'zod';
import { eventually } from '../../../../test/support/eventually.js';
import { DemoWait } from './demo-wait.job.js';

const policy = jobTypePolicy(DemoWait);
const schema = policy?.payload as z.ZodType<Parameters<DemoWait['run']>[0]['payload']>;

/** Runs one attempt and keeps what it reported. */
function attempt(
  payload: unknown,
  { number = 1, position = 0, signal = new AbortController().signal, onProgress = () => {} } = {},
) {
  const reports: [number, Json | undefined][] = [];
  const ctx = {
    signal,
    job: {} as JobView<z.output<typeof schema>>,
    log: { info: () => {}, warn: () => {} },
    progress: (percent: number, detail?: Json) => {
      reports.push([percent, detail]);
      onProgress();
    },
    checkpoint: async () => {},
    commit: () => Promise.reject(new Error('no database here')),
  } satisfies TaskContext<z.output<typeof schema>>;
  const task = { taskId: 't', key: null, position, attempt: number, checkpoint: undefined };
  return { reports, returned: new DemoWait().run({ ...task, payload: schema.parse(payload) }, ctx) };
}

describe('the payload of demo.wait', () => {
  test('needs nothing', () => {
    const defaults = {
      durationMs: 1000,
      steps: 10,
      failAttempts: 0,
      failPermanently: false,
      ignoreSignal: false,
    };
    expect(schema.parse(undefined)).toEqual(defaults);
    expect(schema.parse({})).toEqual(defaults);
    expect(policy).toMatchObject({ name: 'demo.wait', attempts: 3, resumable: false });
  });

  test.each([
    { durationMs: -1 },
    { durationMs: 3_600_001 },
    { durationMs: 1.5 },
    { steps: 0 },
    { steps: 1001 },
    { failAttempts: 101 },
    { failPositions: [-1] },
    { failPermanently: 'yes' },
    { other: 1 },
    null,
  ])('refuses %j', (payload) => {
    expect(schema.safeParse(payload).success).toBe(false);
  });
});

describe('the wait', () => {
  test('lasts as long as asked, and reports each step', async () => {
    const { reports, returned } = attempt({ durationMs: 60, steps: 4 });
    const { waitedMs } = (await returned) as { waitedMs: number };
    // A timer may fire a millisecond early.
    expect(waitedMs).toBeGreaterThanOrEqual(58);
    expect(reports).toEqual([
      [25, { step: 1, steps: 4 }],
      [50, { step: 2, steps: 4 }],
      [75, { step: 3, steps: 4 }],
      [100, { step: 4, steps: 4 }],
    ]);
  });

  test('does not grow with its steps', async () => {
    // With a timer for each step it would be a second or more, however often it is tried.
    await eventually(async () => {
      const { reports, returned } = attempt({ durationMs: 0, steps: 1000 });
      expect(((await returned) as { waitedMs: number }).waitedMs).toBeLessThan(500);
      expect(reports).toHaveLength(1000);
    });
  });

  test.each([[{ a: [1] }], ['text'], [0], [false], [null]])('returns %j when asked to', async (result) => {
    expect(await attempt({ durationMs: 0, steps: 1, result }).returned).toEqual(result);
  });
});

describe('the signal', () => {
  test('ends the wait at once', async () => {
    const controller = new AbortController();
    const { returned, reports } = attempt({ durationMs: 3_600_000 }, { signal: controller.signal });
    controller.abort();
    await expect(returned).rejects.toMatchObject({ name: 'AbortError' });
    expect(reports).toEqual([]);
  });

  test('is seen between steps that take no time', async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    const { returned, reports } = attempt({ durationMs: 0 }, { signal: controller.signal, onProgress });
    await expect(returned).rejects.toMatchObject({ name: 'AbortError' });
    expect(reports).toHaveLength(1);
  });

  test('is not heeded when asked so', async () => {
    const payload = { durationMs: 20, steps: 2, ignoreSignal: true, result: 'done' };
    const { returned, reports } = attempt(payload, { signal: AbortSignal.abort() });
    expect(await returned).toBe('done');
    expect(reports).toHaveLength(2);
  });
});

describe('the failures', () => {
  const quick = { durationMs: 0, steps: 1 };

  test('are of the first attempts', async () => {
    const payload = { ...quick, failAttempts: 2, result: 'done' };
    await expect(attempt(payload).returned).rejects.toThrow('Attempt 1 failed, as it was told to.');
    await expect(attempt(payload, { number: 2 }).returned).rejects.toThrow('Attempt 2 failed');
    expect(await attempt(payload, { number: 3 }).returned).toBe('done');
  });

  test('come after the wait', async () => {
    const { returned, reports } = attempt({ durationMs: 10, steps: 5, failPermanently: true });
    await expect(returned).rejects.toBeInstanceOf(PermanentError);
    expect(reports).toHaveLength(5);
  });

  test('are for good in every attempt when asked so', async () => {
    const payload = { ...quick, failPermanently: true };
    await expect(attempt(payload, { number: 9 }).returned).rejects.toBeInstanceOf(PermanentError);
  });

  test.each([{ failPermanently: true }, { failAttempts: 1 }])(
    'spare the positions not listed: %j',
    async (how) => {
      const payload = { ...quick, ...how, failPositions: [1, 3], result: 'done' };
      for (const position of [1, 3]) {
        await expect(attempt(payload, { position }).returned).rejects.toThrow('as it was told to.');
      }
      for (const position of [0, 2]) expect(await attempt(payload, { position }).returned).toBe('done');
    },
  );

  test.each([[{ a: 1 }], ['text'], [0], [null]])('throw %j as it is', async (throwValue) => {
    const thrown = await attempt({ ...quick, failAttempts: 1, throwValue }).returned.then(
      () => 'nothing was thrown',
      (reason: unknown) => ({ reason }),
    );
    expect(thrown).toEqual({ reason: throwValue });
  });
});
