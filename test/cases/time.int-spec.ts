import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { JobType } from '@app/core';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { CASE_TYPES, gate, Knobs, ledgerOf, runsOf, Work } from './probe.js';

jest.setTimeout(60_000);

const DAY = 86_400_000;

/** Has the longest limits that there are. */
@JobType({ name: 'case.slow', payload: Knobs, timeout: '24d', maxRuntime: '24d' })
class Slow extends Work {}

let database: TestDatabase;
let engine: TestEngine;
const warnings: string[] = [];
const listen = (warning: Error) => warnings.push(warning.name);

beforeAll(async () => {
  process.on('warning', listen);
  database = await createTestDatabase();
  engine = await startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [...CASE_TYPES, Slow],
    env: { LEASE: '6s' },
  });
});
afterAll(async () => {
  process.off('warning', listen);
  await engine?.stop();
  await database?.drop();
});

const submit = async (input: object) =>
  (await engine.jobs.submit({ type: 'case.work', ...input }, ALICE)).job;

describe('a time far away', () => {
  test.each([2 ** 31 - 1, 2 ** 31, 30 * DAY, 365 * DAY])(
    'C35: a job due in %d ms is not begun at once, nor given up, and tells its time right',
    async (ms) => {
      const runAt = new Date(Date.now() + ms);
      const expiresAt = new Date(runAt.getTime() + ms);
      const far = await submit({ runAt, expiresAt });
      const near = await submit({ runAt: new Date(Date.now() + 400) });
      expect((await engine.ended(near.jobId)).status).toBe('completed');
      expect(await engine.jobs.find('alice', far.jobId)).toMatchObject({
        status: 'scheduled',
        runAt,
        expiresAt,
      });
      expect(runsOf(far.jobId)).toEqual([]);
    },
  );

  test('C35: limits of 24 days do not end a task at once, longer ones are refused at the boot, and no timer overflows', async () => {
    const job = await submit({ type: 'case.slow', payload: { forMs: 300 } });
    expect(await engine.ended(job.jobId)).toMatchObject({ status: 'completed' });
    for (const limit of ['timeout', 'maxRuntime'])
      expect(() => JobType({ name: 'case.slower', payload: Knobs, [limit]: '25d' })).toThrow(/1ms to 24d/);
    expect(warnings).not.toContain('TimeoutOverflowWarning');
  });
});

describe('an attempt that ran into its timeout', () => {
  test('C14: is over before the next one begins, when its handler stops as it is told to', async () => {
    const job = await submit({ type: 'case.timed', payload: { forMs: 60_000 } });
    expect(await engine.ended(job.jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'timeout', attempt: 2 },
    });
    const [first, second] = runsOf(job.jobId);
    expect(runsOf(job.jobId)).toHaveLength(2);
    expect((first?.abortedAt ?? 0) - (first?.startedAt ?? 0)).toBeGreaterThanOrEqual(245);
    expect(second?.startedAt).toBeGreaterThanOrEqual(first?.endedAt ?? Infinity);
  });

  test('C14: has its late outcome discarded when its handler goes on beside the next one', async () => {
    // The first ignores its timeout, the second is quick.
    const job = await submit({ type: 'case.timed', payload: { ignores: true, gate: 'C14', quickFrom: 2 } });
    const done = await engine.ended(job.jobId);
    expect(done).toMatchObject({ status: 'completed', result: { attempt: 2 } });
    const [first] = runsOf(job.jobId);
    expect(first?.endedAt).toBeUndefined();
    gate('C14').open();
    await eventually(() => expect(first?.endedAt).toBeDefined());
    const after = await submit({});
    await engine.ended(after.jobId);
    expect(await engine.jobs.find('alice', job.jobId)).toEqual(done);
    expect(await ledgerOf(database.url, job.jobId)).toEqual(['queued', 'active', 'completed']);
    expect(runsOf(job.jobId).map((run) => run.attempt)).toEqual([1, 2]);
  });
});
