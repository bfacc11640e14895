import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { TaskSummary } from '@app/core';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import {
  SERVICE,
  serviceEnvironment,
  spawnService,
  startService,
  type TestService,
} from '../support/service.js';

jest.setTimeout(120_000);
const PATIENCE = { timeout: 40_000 };

// The code that `npm run build` has made, each role in processes of its own.
let database: TestDatabase;
let redis: ReturnType<typeof testRedis>;
const services: TestService[] = [];

beforeAll(async () => {
  if (!existsSync(SERVICE.built[0] ?? ''))
    throw new Error('Run npm run build before these tests, as npm test does.');
  redis = testRedis();
  database = await createTestDatabase();
});
afterEach(() => Promise.all(services.splice(0).map((service) => service.stop())));
afterAll(() => database?.drop());

async function start(role: string, more: Record<string, string> = {}): Promise<TestService> {
  const environment = serviceEnvironment(database.url, redis, { SERVICE_TYPE: role, ...more });
  const service = await startService(environment, 'built');
  services.push(service);
  return service;
}

async function tasksOf(alice: ApiUser, jobId: string): Promise<TaskSummary[]> {
  return (await alice.get(`/jobs/${jobId}/tasks?limit=200`)).body.tasks;
}

const hold = { type: 'demo.wait', payload: { durationMs: 3_600_000, steps: 100 } };

describe('a role (feature 1)', () => {
  test.each([
    ['SERVICE_TYPE', 'foo', 'api, task-worker, all'],
    ['SERVICE_TYPE', '', 'api, task-worker, all'],
    ['MAX_CONCURRENT_TASKS', '0', 'a whole number from 1'],
    ['DATABASE_URL', 'mysql://secret@host/db', 'postgres://'],
    ['CATALOG_TOKEN', 'a secret', 'printable ASCII'],
    ['JWT_SECRET', 'a secret', '32 bytes'],
    ['JWT_JWKS_URL', 'http://secret.example/', 'https://'],
    ['SYNC_CRON', '99 * * * * SECRET', 'a cron expression'],
  ])(
    'that is set wrongly (%s=%s) ends the boot with 1 and one sentence (features 1, 9, input 89)',
    async (name, value, takes) => {
      const child = spawnService(serviceEnvironment(database.url, redis, { [name]: value }), 'built');
      let said = '';
      child.stderr?.on('data', (chunk) => (said += String(chunk)));
      const [code] = await once(child, 'close');
      expect(code).toBe(1);
      expect(said).toContain(name);
      expect(said).toContain(takes);
      expect(said.replaceAll(name, '').toLowerCase()).not.toContain('secret');
      expect(said.trim().split('\n')).toHaveLength(1);
    },
  );

  test.each([
    ['DATABASE_URL', 'postgres://ann:secret@127.0.0.1:1/db', '127.0.0.1:1'],
    ['HOST', '192.0.2.1', 'EADDRNOTAVAIL'],
  ])('whose %s is of no use ends the boot with 1 and says so', async (name, value, detail) => {
    const child = spawnService(serviceEnvironment(database.url, redis, { [name]: value }), 'source');
    let said = '';
    for (const output of [child.stdout, child.stderr]) output?.on('data', (chunk) => (said += String(chunk)));
    const [code] = await once(child, 'close');
    expect(code).toBe(1);
    expect(said).not.toContain('secret');
    const line =
      said
        .trim()
        .split('\n')
        .find((each) => each.includes('longhaul cannot start')) ?? '{}';
    const { level, msg, err } = JSON.parse(line) as Record<string, unknown>;
    expect([level, err]).toEqual(['fatal', undefined]);
    expect(msg).toContain(name);
    expect(msg).toContain(detail);
  });

  test('of an api accepts jobs and never executes them; a task worker does, and serves no jobs', async () => {
    const api = await start('api', { LEASE: '2s' });
    const alice = await apiUser(api, 'alice');
    const job = await alice.submit({ type: 'demo.wait', payload: { durationMs: 10 } });
    // Longer than a sweep, a lease and the first look at an unclaimed task.
    const before = performance.now();
    await eventually(async () => {
      expect((await alice.get(`/jobs/${job.jobId}`)).body.status).toBe('queued');
      expect(performance.now() - before).toBeGreaterThan(2500);
    });
    const worker = await start('task-worker');
    expect((await alice.until(job.jobId, undefined, PATIENCE)).status).toBe('completed');
    expect((await fetch(`${worker.url}/jobs`, { headers: { 'x-api-key': alice.key } })).status).toBe(404);
    expect((await fetch(`${worker.url}/health/live`)).status).toBe(200);
  });
});

describe('two task workers', () => {
  test('share the tasks of one job, and a cancel through the api stops both (feature 16)', async () => {
    const [api, ...workers] = await Promise.all([start('api'), start('task-worker'), start('task-worker')]);
    const alice = await apiUser(api, 'alice');
    const job = await alice.submit({ ...hold, numTask: 8 });
    await eventually(async () => {
      const tasks = await tasksOf(alice, job.jobId);
      expect(tasks.every((task) => task.status === 'active')).toBe(true);
    }, PATIENCE);
    const holders = new Set((await tasksOf(alice, job.jobId)).map((task) => task.worker));
    expect(holders.size).toBe(workers.length);
    const canceled = await alice.send('POST', `/jobs/${job.jobId}/cancel`);
    expect(canceled.body.cancelReceipt.stops).toHaveLength(8);
    await eventually(async () => {
      const { cancelReceipt } = (await alice.get(`/jobs/${job.jobId}`)).body;
      expect(cancelReceipt.state).toBe('stopped');
      expect(new Set(cancelReceipt.stops.map((stop: { worker: string }) => stop.worker))).toEqual(holders);
    });
  });

  test('stop with exit code 0, hand their tasks over, and the job completes on the other', async () => {
    const patient = { SHUTDOWN_GRACE: '20s' };
    const [api, first, second] = await Promise.all([
      start('api'),
      start('task-worker', patient),
      start('task-worker', patient),
    ]);
    const alice = await apiUser(api, 'alice');
    const job = await alice.submit({
      type: 'demo.wait',
      numTask: 8,
      payload: { durationMs: 4000, steps: 30 },
    });
    await eventually(async () => {
      const running = (await tasksOf(alice, job.jobId)).filter((task) => task.status === 'active');
      expect(new Set(running.map((task) => task.worker)).size).toBe(2);
    }, PATIENCE);
    expect(await first.stop()).toBe(0);
    expect(await alice.until(job.jobId, undefined, PATIENCE)).toMatchObject({
      status: 'completed',
    });
    expect(await second.stop()).toBe(0);
  });
});

describe('a service that is told to stop', () => {
  test('sends requests away with 503 while its tasks end, and exits 0 with sockets open (feature 36)', async () => {
    const service = await start('all', { SHUTDOWN_GRACE: '20s' });
    const alice = await apiUser(service, 'alice');
    const job = await alice.submit({ type: 'demo.wait', payload: { durationMs: 5000, steps: 30 } });
    await alice.until(job.jobId, ['active']);
    const idle = connect(Number(new URL(service.url).port), '127.0.0.1');
    await once(idle, 'connect');
    const exited = service.stop();
    await eventually(async () => {
      const refused = await alice.send('POST', '/jobs', { numTask: 1 });
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    });
    expect((await fetch(`${service.url}/health/ready`)).status).toBe(503);
    expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
    expect(await exited).toBe(0);
    idle.destroy();
    const again = await start('all', { PORT: new URL(service.url).port });
    expect(again.url).toBe(service.url);
    expect(await alice.until(job.jobId)).toMatchObject({ status: 'completed' });
    const [task] = await tasksOf(alice, job.jobId);
    expect(task).toMatchObject({ status: 'completed', attempt: 1 });
  });
});

describe('a service that is killed', () => {
  test('right after its 201 still has the job after a start, and completes it (feature 8)', async () => {
    const first = await start('all', { LEASE: '2s' });
    const alice = await apiUser(first, 'alice');
    const job = await alice.submit({ type: 'demo.wait', numTask: 3, payload: { durationMs: 300 } });
    await first.stop('SIGKILL');
    const again = await start('all', { PORT: new URL(first.url).port });
    expect(again.url).toBe(first.url);
    const found = await alice.get(`/jobs/${job.jobId}`);
    expect(found).toMatchObject({ status: 200, body: { jobId: job.jobId } });
    expect(await alice.until(job.jobId, undefined, PATIENCE)).toMatchObject({
      status: 'completed',
      tasks: { total: 3, completed: 3 },
    });
  });
});
