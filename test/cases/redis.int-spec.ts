import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../scripts/local/redis.js';
import type { LocalServer } from '../../scripts/local/types.js';
import { Schedules } from '@app/engine/schedules.js';
import { Proxy } from '../faults/harness/proxy.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { CASE_TYPES, gate, ledgerOf, runsOf, sql } from './probe.js';

jest.setTimeout(90_000);
const PATIENCE = { timeout: 40_000 };

let folder: string;
let database: TestDatabase;
let server: LocalServer;
let link: Proxy;
let engine: TestEngine;
let redis: Redis;
let start: (env?: Record<string, string>) => Promise<TestEngine>;
/** The connections of the engine to Redis when it had just run its first job. */
let atStart: unknown[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-cases-'));
  [database, server] = await Promise.all([
    createTestDatabase(),
    startRedis({ dir: join(folder, 'redis'), durable: false }),
  ]);
  link = await Proxy.start(server.port, 'redis');
  start = (env = {}) =>
    startEngine({
      databaseUrl: database.url,
      redis: { url: `redis://127.0.0.1:${link.port}`, prefix: 'cases' },
      jobTypes: CASE_TYPES,
      env: { LEASE: '6s', SCHEDULE_MIN_INTERVAL: '1s', ...env },
    });
  engine = await start();
  redis = new Redis(server.url);
  await completes((await submit()).job.jobId);
  atStart = await connections();
  // What BullMQ and ioredis say while the network is broken is no news here.
  jest.spyOn(console, 'error').mockImplementation(() => {});
});
afterAll(async () => {
  redis?.disconnect();
  await engine?.stop();
  await Promise.all([link?.stop(), server?.stop(), database?.drop()]);
  await rm(folder, { recursive: true, force: true });
});

const soon = (ms: number) => new Date(Date.now() + ms);
const submit = async (input: object = {}, key?: string) =>
  engine.jobs.submit(
    { type: 'case.work', ...input },
    ALICE,
    key === undefined ? {} : { idempotencyKey: key },
  );
/** The names of the connections of the engine to Redis. */
const connections = async () =>
  [...String(await redis.client('LIST')).matchAll(/ name=((?:longhaul|cases)\S*)/g)]
    .map(([, name]) => name)
    .toSorted();
const completes = async (jobId: string) =>
  expect((await engine.ended(jobId, undefined, PATIENCE)).status).toBe('completed');

describe('Redis', () => {
  test('C19: that was flushed costs nothing: open jobs run once, at their time, and ended ones do not run again', async () => {
    const { job: done } = await submit();
    await completes(done.jobId);
    const blockers = await Promise.all([1, 2, 3, 4].map(() => submit({ payload: { gate: 'C19' } })));
    await eventually(
      () => expect(blockers.every(({ job }) => runsOf(job.jobId).length === 1)).toBe(true),
      PATIENCE,
    );
    const waiting = await Promise.all(Array.from({ length: 10 }, () => submit({ numTask: 2 })));
    const runAt = soon(1500);
    const delayed = await Promise.all([1, 2, 3].map(() => submit({ runAt })));
    await eventually(async () => expect(await redis.dbsize()).toBeGreaterThan(10));
    await redis.flushall();
    gate('C19').open();
    for (const { job } of [...blockers, ...waiting, ...delayed]) await completes(job.jobId);
    for (const { job } of waiting) expect(runsOf(job.jobId).map((run) => run.attempt)).toEqual([1, 1]);
    for (const { job } of [...blockers, ...delayed]) expect(runsOf(job.jobId)).toHaveLength(1);
    for (const { job } of delayed)
      expect(runsOf(job.jobId)[0]?.startedAt).toBeGreaterThanOrEqual(runAt.getTime());
    expect(runsOf(done.jobId)).toHaveLength(1);
    expect(await ledgerOf(database.url, done.jobId)).toEqual(['queued', 'active', 'completed']);
  });

  test('that was flushed while schedules wait loses none of their slots, and doubles none', async () => {
    const schedules = engine.app.get(Schedules);
    const startAt = soon(1500);
    const made = await Promise.all(
      [1, 2, 3].map((nth) =>
        schedules.create(
          {
            name: `flushed ${nth}`,
            every: '1s',
            startAt,
            maxRuns: 2,
            job: { type: 'case.work', payload: {} },
          },
          ALICE,
        ),
      ),
    );
    await redis.flushall();
    for (const { scheduleId } of made) {
      await eventually(
        async () =>
          expect(await schedules.find(ALICE.ownerId, scheduleId)).toMatchObject({ status: 'ended', runs: 2 }),
        PATIENCE,
      );
      const slots = (await schedules.slots(ALICE.ownerId, scheduleId, { limit: 50 })) ?? [];
      const fired = slots.filter(({ outcome }) => outcome === 'fired');
      expect(fired).toHaveLength(2);
      for (const { jobId } of fired) await completes(jobId ?? '');
      for (const { jobId } of fired) expect(runsOf(jobId ?? '')).toHaveLength(1);
    }
  });

  test('C19: that may evict keys is warned of loudly at the start', async () => {
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const warned = jest.spyOn(console, 'warn').mockImplementation(() => {});
    const other = await start();
    await eventually(() =>
      expect(warned.mock.calls.flat().join('\n')).toMatch(/Eviction policy is allkeys-lru.*noeviction/),
    );
    await other.stop();
    warned.mockRestore();
    await redis.config('SET', 'maxmemory-policy', 'noeviction');
  });

  test('C17: that refuses writes delays a job and loses none: a retried submit gives the same job, and it runs once', async () => {
    await redis.config('SET', 'maxmemory', '1');
    const first = await submit({}, 'C17');
    const again = await submit({}, 'C17');
    expect(again).toMatchObject({ replayed: true, job: { jobId: first.job.jobId, status: 'queued' } });
    await expect(redis.set('x', 'y')).rejects.toThrow('OOM');
    await redis.config('SET', 'maxmemory', '0');
    await completes(first.job.jobId);
    expect(await submit({}, 'C17')).toMatchObject({ replayed: true, job: { status: 'completed' } });
    expect(runsOf(first.job.jobId)).toHaveLength(1);
  });

  test('C15, C17: that was away and came back empty is used again without a restart, and what was accepted meanwhile runs', async () => {
    await server.stop();
    const { job: meanwhile } = await submit({ numTask: 3 }, 'C17-away');
    expect(meanwhile.status).toBe('queued');
    const held = await submit({ runAt: soon(200) });
    await eventually(async () => {
      expect((await engine.jobs.find('alice', held.job.jobId))?.status).toBe('queued');
    });
    server = await startRedis({ dir: join(folder, 'redis'), durable: false });
    link.target = server.port;
    redis.disconnect();
    redis = new Redis(server.url);
    const { job: after } = await submit();
    for (const { jobId } of [meanwhile, held.job, after]) await completes(jobId);
    expect((await submit({ numTask: 3 }, 'C17-away')).job.jobId).toBe(meanwhile.jobId);
    expect(runsOf(meanwhile.jobId)).toHaveLength(3);
  });

  test('C15: that a network swallowed for a while is used again without a restart', async () => {
    link.silent = true;
    const { job: meanwhile } = await submit();
    // Longer than any command of ours waits for Redis.
    const since = performance.now();
    await eventually(() => expect(performance.now() - since).toBeGreaterThan(2200));
    expect((await engine.jobs.find('alice', meanwhile.jobId))?.status).toBe('queued');
    link.heal();
    const { job: after } = await submit();
    for (const { jobId } of [meanwhile, after]) await completes(jobId);
    expect(runsOf(meanwhile.jobId)).toHaveLength(1);
  });

  test('C61: has a small constant number of connections of a process, whatever is asked of it and after a reconnect', async () => {
    // The tests before have cut them: all are there again when they are those of the start.
    const settled = () => eventually(async () => expect(await connections()).toEqual(atStart), PATIENCE);
    expect(atStart.length).toBeGreaterThan(2);
    expect(atStart.length).toBeLessThanOrEqual(10);
    await settled();
    const jobs = await Promise.all(Array.from({ length: 200 }, () => submit()));
    await Promise.all(
      jobs.slice(0, 50).map(({ job }) => engine.jobs.cancel('alice', job.jobId, { actor: 'test' })),
    );
    for (const { job } of jobs) await engine.ended(job.jobId, undefined, PATIENCE);
    expect(await connections()).toEqual(atStart);
    const ofPostgres = await sql(
      database.url,
      `SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'longhaul%' AND datname = current_database()`,
    );
    expect(ofPostgres.length).toBeLessThanOrEqual(engine.config.DATABASE_POOL + 5);
    link.cut();
    const { job } = await submit();
    await completes(job.jobId);
    await settled();
  });

  test('does not grow with progress, however often and how much of it is reported (feature 55)', async () => {
    const memory = async () =>
      Number(/used_memory_dataset:(\d+)/.exec(await redis.info('memory'))?.[1] ?? Number.NaN);
    const [keys, bytes] = [await redis.dbsize(), await memory()];
    const percents = Array.from({ length: 300 }, (_, at) => at % 100);
    const { job } = await submit({
      numTask: 4,
      payload: { percents, gate: 'f55', detail: 'x'.repeat(5000) },
    });
    await eventually(async () =>
      expect(await engine.jobs.find('alice', job.jobId)).toMatchObject({
        progress: 99,
        detail: expect.stringContaining('xxx'),
      }),
    );
    expect((await memory()) - bytes).toBeLessThan(200_000);
    gate('f55').open();
    await completes(job.jobId);
    await eventually(async () => expect(await redis.dbsize()).toBeLessThanOrEqual(keys));
  });

  test('C15: whose connections died without a word is used again through new ones', async () => {
    const middle = await Proxy.start(server.port, 'redis');
    link.target = middle.port;
    link.cut();
    await completes((await submit()).job.jobId);
    // What is connected gets no answer any more, and no end either; who connects anew gets through.
    middle.silent = true;
    link.target = server.port;
    const { job } = await submit();
    try {
      expect(await engine.ended(job.jobId, undefined, PATIENCE)).toMatchObject({
        status: 'completed',
      });
    } finally {
      await middle.stop();
    }
  });
});
