import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Job } from '@app/core';
import { finishTasks } from '@app/engine/store/finish-tasks.js';
import { Database } from '@app/platform/prisma/database.js';
import { type RunningCatalog, startCatalog } from '../../apps/catalog-sim/src/catalog-server.js';
import { DemoWait } from '../../apps/service/src/job-types/demo-wait.job.js';
import { Proxy } from '../faults/harness/proxy.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';
import { changePayload, ledgerOf, sql } from './probe.js';

jest.setTimeout(120_000);
const PATIENCE = { timeout: 40_000 };
const HOUR = 3_600_000;

// The service as it is, in processes of its own; the jobs are submitted from here.
let database: TestDatabase;
let catalog: RunningCatalog;
let postgres: Proxy;
let redis: Proxy;
let api: TestEngine;
const services: TestService[] = [];
let start: (role: string, more?: Record<string, string>) => Promise<TestService>;

beforeAll(async () => {
  [database, catalog] = await Promise.all([createTestDatabase(), startCatalog()]);
  const shared = testRedis();
  postgres = await Proxy.start(Number(new URL(database.url).port), 'postgres');
  redis = await Proxy.start(Number(new URL(shared.url).port), 'redis');
  start = async (role, more = {}) => {
    const environment = serviceEnvironment(
      behind(database.url, postgres),
      { ...shared, url: behind(shared.url, redis) },
      {
        SERVICE_TYPE: role,
        CATALOG_URL: catalog.url,
        CATALOG_TIMEOUT: '60s',
        MAX_CONCURRENT_TASKS: '8',
        SHUTDOWN_GRACE: '20s',
        LEASE: '3s',
        ...more,
      },
    );
    const service = await startService(environment);
    services.push(service);
    return service;
  };
  api = await startEngine({
    databaseUrl: database.url,
    redis: shared,
    jobTypes: [DemoWait],
    executes: false,
  });
}, 60_000);
afterAll(async () => {
  await Promise.all(services.map((service) => service.stop('SIGKILL')));
  await api?.stop();
  await Promise.all([postgres?.stop(), redis?.stop(), catalog?.stop(), database?.drop()]);
});

/** The address of a server, by way of a proxy. */
const behind = (url: string, proxy: Proxy) => {
  const other = new URL(url);
  other.port = String(proxy.port);
  return other.href;
};
const submit = async (payload: object, more: object = {}) =>
  (await api.jobs.submit({ type: 'demo.wait', payload: payload as never, ...more }, ALICE)).job;
const alive = () =>
  services.filter(({ process: { exitCode, signalCode } }) => exitCode === null && signalCode === null);
const tasksOf = async (jobId: string) => (await api.jobs.tasks('alice', jobId, { limit: 100 })) ?? [];
const ended = (job: Job) => api.ended(job.jobId, undefined, PATIENCE);
const posts = (jobId: string) =>
  catalog.requests.filter((call) => call.method === 'POST' && call.body.includes(jobId));
/** Waits until all tasks of a job run, and answers the process that runs the first of them. */
async function holderOf(job: Job): Promise<TestService> {
  await eventually(
    async () => expect((await tasksOf(job.jobId)).every((task) => task.status === 'active')).toBe(true),
    PATIENCE,
  );
  const [row] = await sql<{ pid: number }>(
    database.url,
    'SELECT w.pid FROM tasks t JOIN workers w ON w.id = t.worker WHERE t.job_id = $1::uuid',
    job.jobId,
  );
  const holder = services.find((service) => service.process.pid === row?.pid);
  if (!holder) throw new Error(`No process of ours has the id ${row?.pid}.`);
  return holder;
}

/** Takes the processor from a process at a moment in which it is in no transaction. */
async function freeze(service: TestService): Promise<void> {
  await eventually(async () => {
    service.process.kill('SIGSTOP');
    const idle = await sql(
      database.url,
      `SELECT 1 FROM pg_stat_activity, pg_sleep(0.2)
       WHERE datname = current_database() AND state = 'idle in transaction' AND state_change < now() - interval '0.1s'`,
    );
    if (idle.length > 0) service.process.kill('SIGCONT');
    expect(idle).toEqual([]);
  });
}

describe('of two workers', () => {
  beforeAll(async () => {
    await Promise.all([start('task-worker'), start('task-worker')]);
  }, 60_000);

  test('C13: one that was frozen until another had done its task changes nothing when it goes on (feature 49)', async () => {
    // Long enough to be frozen in, and quick when it is done again.
    const payload = { durationMs: 7000, steps: 1, ignoreSignal: true };
    const job = await submit(payload, { catalog: { name: 'once' } });
    const frozen = await holderOf(job);
    await changePayload(database.url, job.jobId, { durationMs: 0 });
    await freeze(frozen);
    const done = await ended(job);
    expect(done.status).toBe('completed');
    const before = await tasksOf(job.jobId);
    expect(before).toMatchObject([{ status: 'completed', attempt: 2 }]);
    frozen.process.kill('SIGCONT');
    await eventually(() => expect(frozen.log.join('\n')).toContain('a late result was refused'), PATIENCE);
    expect(await api.jobs.find('alice', job.jobId)).toEqual(done);
    expect(await tasksOf(job.jobId)).toEqual(before);
    expect(await ledgerOf(database.url, job.jobId)).toEqual(['queued', 'active', 'finalizing', 'completed']);
    expect(posts(job.jobId)).toHaveLength(1);
  });

  test('C63, C65: one that is told to stop keeps its lease to the end of its task, writes the result, and exits with 0', async () => {
    const job = await submit({ durationMs: 5000, steps: 50 });
    const stopping = await holderOf(job);
    postgres.delayMs = 60;
    expect(await stopping.stop()).toBe(0);
    postgres.delayMs = 0;
    expect(await ended(job)).toMatchObject({ status: 'completed' });
    // Longer than its lease, and nobody else began it.
    expect(await tasksOf(job.jobId)).toMatchObject([{ attempt: 1 }]);
    expect(await ledgerOf(database.url, job.jobId)).toEqual(['queued', 'active', 'completed']);
    expect(stopping.log.join('\n')).not.toMatch(/closed|P1017|after calling end/i);
  });
});

describe('a worker that is killed', () => {
  let [doomed, finalizing, canceled, shared]: Job[] = [];
  const samples: Job[] = [];
  let replay: unknown;
  beforeAll(async () => {
    await Promise.all(alive().map((service) => service.stop()));
    finalizing = await submit({ durationMs: 0 }, { catalog: { name: 'x' } });
    catalog.script({ mode: 'hang', match: { method: 'POST', id: finalizing.jobId } });
    const killed = await start('task-worker');
    canceled = await submit({ durationMs: HOUR, ignoreSignal: true });
    doomed = await submit({ durationMs: HOUR, ignoreSignal: true }, { attempts: 1 });
    const tasks = [0, 0, HOUR, HOUR, HOUR].map((durationMs) => ({ payload: { durationMs, steps: 5 } }));
    shared = await submit({}, { tasks });
    await Promise.all([holderOf(canceled), holderOf(doomed)]);
    await eventually(async () => {
      expect(posts(finalizing?.jobId ?? '')).toHaveLength(1);
      expect((await api.jobs.find('alice', shared?.jobId ?? ''))?.tasks.completed).toBe(2);
    }, PATIENCE);
    expect(await api.jobs.cancel('alice', canceled.jobId, { actor: 'test' })).toMatchObject({
      kind: 'canceled',
    });
    await changePayload(database.url, shared.jobId, { durationMs: 300 });
    await killed.stop('SIGKILL');
    await start('task-worker');
    // Another worker's word for a task that is done already.
    const [done] = await sql<{ id: string; fence: number }>(
      database.url,
      `SELECT id::text, fence FROM tasks WHERE job_id = $1::uuid AND status = 'completed'`,
      shared.jobId,
    );
    const again = { taskId: done?.id ?? '', fence: done?.fence ?? 0, status: 'completed' as const };
    const member = { ...again, delayMs: 0, charged: true, expired: false };
    replay = (await finishTasks(api.app.get(Database).main, [member], 'test')).get(member.taskId);
    await eventually(async () => {
      const job = await api.jobs.find('alice', shared?.jobId ?? '');
      if (job) samples.push(job);
      expect(job?.status).toBe('completed');
    }, PATIENCE);
  }, 120_000);

  test('C24: its tasks run again and none is counted twice, nor one whose end is told twice (feature 49)', async () => {
    expect(replay).toMatchObject({ kind: 'mine-already' });
    for (const { tasks, progress } of samples) {
      expect(tasks.total).toBe(5);
      expect(tasks.completed).toBeLessThanOrEqual(5);
      expect(progress).toBeLessThanOrEqual(100);
    }
    const percents = samples.map((job) => job.progress);
    expect(percents).toEqual(percents.toSorted((a, b) => a - b));
    expect(samples.at(-1)).toMatchObject({ progress: 100, tasks: { completed: 5, failed: 0, canceled: 0 } });
    const attempts = (await tasksOf(shared?.jobId ?? '')).map((task) => task.attempt);
    expect(attempts).toEqual([1, 1, 2, 2, 2]);
  });

  test('C67: takes a job whose cancel was accepted with it: it is not run again', async () => {
    expect(await api.jobs.find('alice', canceled?.jobId ?? '')).toMatchObject({ status: 'canceled' });
    expect(await tasksOf(canceled?.jobId ?? '')).toMatchObject([{ status: 'canceled', attempt: 1 }]);
    expect(await ledgerOf(database.url, canceled?.jobId ?? '')).toEqual(['queued', 'active', 'canceled']);
    // A job beside it with its only attempt gone has failed by now, so the turn of both has come.
    expect(await ended(doomed as Job)).toMatchObject({ status: 'failed', error: { code: 'crashed' } });
  });

  test('C32: is followed by another when its turn at the Catalog is over, which posts the same with the same key', async () => {
    const { jobId } = finalizing as Job;
    expect((await ended(finalizing as Job)).status).toBe('completed');
    expect(posts(jobId)).toHaveLength(2);
    expect(new Set(posts(jobId).map((call) => `${call.idempotencyKey} ${call.body}`)).size).toBe(1);
  });
});

describe('a process that is told to stop', () => {
  test('C68: ends with 0 when it is idle and Redis is away, and at once with 130 when it is told twice', async () => {
    // For the task that does not stop it would wait this long.
    await start('task-worker', { SHUTDOWN_GRACE: '50s' });
    const job = await submit({ durationMs: HOUR, ignoreSignal: true });
    const busy = await holderOf(job);
    const idle = alive().find((service) => service !== busy);
    redis.partition();
    expect(await idle?.stop()).toBe(0);
    busy.process.kill('SIGTERM');
    await eventually(() => expect(busy.log.join('\n')).toContain('longhaul stops'), PATIENCE);
    const told = performance.now();
    expect(await busy.stop()).toBe(130);
    expect(performance.now() - told).toBeLessThan(15_000);
    redis.heal();
  });
});
