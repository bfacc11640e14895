import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

jest.setTimeout(60_000);

const Payload = z.object({ forMs: z.int().default(1) }).prefault({});
const begun = new Map<string, number>();

@JobType({ name: 'test.note', payload: Payload })
class Note {
  async run({ payload }: TaskView<z.infer<typeof Payload>>, { job, signal }: TaskContext) {
    begun.set(job.jobId, Date.now());
    await delay(payload.forMs, undefined, { signal });
  }
}

@JobType({ name: 'test.short', payload: Payload, maxRuntime: '300ms' })
class Short extends Note {}

@JobType({ name: 'test.roomy', payload: Payload, maxRuntime: '1h' })
class Roomy extends Note {}

let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  const env = { SWEEP_INTERVAL: '250ms' };
  const jobTypes = [Note, Short, Roomy];
  engine = await startEngine({ databaseUrl: database.url, redis: testRedis(), jobTypes, env });
});
afterAll(async () => {
  await engine?.stop();
  await database?.drop();
});

const inMs = (ms: number) => new Date(Date.now() + ms);
const submit = async (input: object, type = 'test.note') =>
  (await engine.jobs.submit({ type, ...input }, ALICE)).job;
/** Tries with more and more time, in milliseconds, until nothing came between that took longer. */
const intime = async <T>(attempt: (ms: number) => Promise<T | undefined>): Promise<T> => {
  for (let ms = 300; ms < 10_000; ms *= 2) {
    const made = await attempt(ms);
    if (made !== undefined) return made;
  }
  throw new Error('It was not in time, however long it had.');
};

describe('a job for later', () => {
  test('is scheduled, and runs once and not before its time (feature 22)', async () => {
    const runAt = inMs(600);
    const job = await submit({ runAt, numTask: 3 });
    expect(job).toMatchObject({ status: 'scheduled', runAt, startedAt: null });
    const ended = await engine.ended(job.jobId);
    expect(ended).toMatchObject({ status: 'completed', tasks: { completed: 3 } });
    expect(ended.startedAt?.getTime()).toBeGreaterThanOrEqual(runAt.getTime());
    const tasks = await engine.jobs.tasks('alice', job.jobId, { limit: 10 });
    expect(tasks?.map((task) => task.attempt)).toEqual([1, 1, 1]);
  });

  test('that has passed, or expires before it is due, is refused (feature 22)', async () => {
    await expect(submit({ runAt: inMs(-1000) })).rejects.toThrow('/runAt');
    await expect(submit({ expiresAt: inMs(-1000) })).rejects.toThrow('/expiresAt');
    await expect(submit({ runAt: inMs(5000), expiresAt: inMs(1000) })).rejects.toThrow('/expiresAt');
  });

  test('survives a restart of everything that runs (feature 22)', async () => {
    const redis = testRedis();
    const options = { databaseUrl: database.url, redis, jobTypes: [Note, Short] };
    const first = await startEngine({ ...options, executes: false });
    const { job } = await first.jobs.submit({ type: 'test.note', runAt: inMs(400) }, ALICE);
    await first.stop();
    expect((await engine.ended(job.jobId)).status).toBe('completed');
  });

  test('that is moved does not begin at its old time, and begins once at the new one (feature 24)', async () => {
    const { job, later } = await intime(async (ms) => {
      const submitted = await submit({ runAt: inMs(ms) });
      const at = inMs(2 * ms);
      const moved = await engine.jobs.reschedule('alice', submitted.jobId, at, { actor: 'test' });
      if (moved?.kind === 'refused') return undefined;
      expect(moved).toMatchObject({ kind: 'rescheduled', job: { status: 'scheduled', runAt: at } });
      return { job: submitted, later: at };
    });
    const ended = await engine.ended(job.jobId);
    expect(ended.startedAt?.getTime()).toBeGreaterThanOrEqual(later.getTime());
    expect(await engine.jobs.reschedule('alice', job.jobId, inMs(500), { actor: 'test' })).toEqual({
      kind: 'refused',
      status: 'completed',
    });
    expect(await engine.jobs.reschedule('bob', job.jobId, inMs(500), { actor: 'test' })).toBeUndefined();
    await expect(engine.jobs.reschedule('alice', job.jobId, inMs(-1), { actor: 'test' })).rejects.toThrow(
      '/runAt',
    );
  });

  test('that is canceled before never begins (feature 14)', async () => {
    const { job, after } = await intime(async (ms) => {
      const submitted = await submit({ runAt: inMs(ms) });
      const canceled = await engine.jobs.cancel('alice', submitted.jobId, { actor: 'test' });
      if (canceled?.kind !== 'canceled' || canceled.job.startedAt) return undefined;
      expect(canceled).toMatchObject({
        kind: 'canceled',
        job: { status: 'canceled', tasks: { canceled: 1 } },
      });
      return { job: submitted, after: await submit({ runAt: inMs(2 * ms) }) };
    });
    await engine.ended(after.jobId);
    expect(begun.has(job.jobId)).toBe(false);
  });
});

describe('a deadline', () => {
  test('fails a job that has not begun (missed_deadline), and spares one that has', async () => {
    const holders = await Promise.all([1, 2, 3, 4].map(() => submit({ payload: { forMs: 60_000 } })));
    await eventually(() => expect(holders.every((job) => begun.has(job.jobId))).toBe(true));
    const late = await submit({ expiresAt: inMs(300) });
    expect(await engine.ended(late.jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'missed_deadline' },
    });
    await Promise.all(holders.map((job) => engine.jobs.cancel('alice', job.jobId, { actor: 'test' })));
    const spared = await intime(async (ms) => {
      const { jobId } = await submit({ expiresAt: inMs(ms), payload: { forMs: 2 * ms } });
      const ended = await engine.ended(jobId, undefined, { timeout: 20_000 });
      return begun.has(jobId) ? ended : undefined;
    });
    expect(spared.status).toBe('completed');
    expect(begun.has(late.jobId)).toBe(false);
  });

  test('of its runtime really ends a job, as failed with timeout (feature 34)', async () => {
    const job = await submit({ numTask: 2, payload: { forMs: 60_000 } }, 'test.short');
    const ended = await engine.ended(job.jobId);
    expect(ended).toMatchObject({ status: 'failed', error: { code: 'timeout' }, tasks: { canceled: 2 } });
    expect(Number(ended.finishedAt) - Number(ended.startedAt)).toBeGreaterThanOrEqual(300);
    const brief = await submit({ payload: { forMs: 10 } }, 'test.roomy');
    expect((await engine.ended(brief.jobId)).status).toBe('completed');
  });
});
