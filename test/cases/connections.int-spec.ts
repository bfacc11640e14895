import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Job, TaskSummary } from '@app/core';
import { withDatabase } from '../../scripts/db/database.js';
import { migrate } from '../../scripts/db/migrate.js';
import { startPostgres } from '../../scripts/local/postgres.js';
import type { LocalServer } from '../../scripts/local/types.js';
import { Proxy } from '../faults/harness/proxy.js';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';
import { changePayload, sql } from './probe.js';

jest.setTimeout(120_000);
const PATIENCE = { timeout: 40_000 };
const CONCURRENCY = 50;

// A Postgres of our own, for it is stopped; the service finds it again where it was.
let folder: string;
let server: LocalServer;
let link: Proxy;
let environment: Record<string, string>;
let service: TestService;
let alice: ApiUser;
const databaseUrl = () => withDatabase(server.url, 'cases');

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-cases-'));
  server = await startPostgres({ dir: join(folder, 'postgres'), durable: false });
  await migrate(databaseUrl());
  link = await Proxy.start(server.port, 'postgres');
  const behind = new URL(databaseUrl());
  behind.port = String(link.port);
  const settings = { MAX_CONCURRENT_TASKS: String(CONCURRENCY), DATABASE_POOL: '5', LEASE: '4s' };
  environment = serviceEnvironment(behind.href, testRedis(), settings);
  service = await startService(environment);
  alice = await apiUser({ url: service.url, databaseUrl: databaseUrl() }, 'alice');
});
afterAll(async () => {
  await service?.stop();
  await link?.stop();
  await server?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

const statusOf = (request: Promise<{ status: number }>): Promise<number | string> =>
  request.then(
    ({ status }) => status,
    (error: Error) => `${error.message}: ${String(error.cause)}`,
  );
const open = () =>
  sql(databaseUrl(), `SELECT 1 FROM pg_stat_activity WHERE application_name = 'longhaul-all'`);

describe('C60: while Postgres is away and when it comes back', () => {
  const answers: { status: number; body: string }[] = [];
  let job: Job;
  let ready = 0;
  beforeAll(async () => {
    // One attempt only: an outage that cost one would fail the job.
    const load = { numTask: CONCURRENCY, attempts: 1, payload: { durationMs: 3_600_000, steps: 1000 } };
    job = await alice.submit({ type: 'demo.wait', ...load });
    await eventually(async () => {
      const { body } = await alice.get(`/jobs/${job.jobId}/tasks?limit=200`);
      expect(body.tasks.filter((task: TaskSummary) => task.status === 'active')).toHaveLength(CONCURRENCY);
    }, PATIENCE);
    await changePayload(databaseUrl(), job.jobId, { durationMs: 100 });
    await server.stop();
    const since = performance.now();
    // Longer than a lease, so that every attempt has to be given up.
    while (performance.now() - since < 5000) {
      const burst = await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          at % 2 === 0 ? alice.send('POST', '/jobs', { numTask: 1 }) : alice.get('/jobs'),
        ),
      );
      answers.push(...burst.map(({ status, body }) => ({ status, body: JSON.stringify(body) })));
    }
    ready = (await fetch(`${service.url}/health/ready`)).status;
    server = await startPostgres({ dir: join(folder, 'postgres'), durable: false });
    link.target = server.port;
    await eventually(async () => expect((await alice.get('/jobs')).status).toBe(200), PATIENCE);
  });

  test('C60: requests are answered with 503', () => {
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([503]));
  });

  test('C60: no answer shows anything of the database, and readiness says that it is away', () => {
    expect(answers.length).toBeGreaterThanOrEqual(20);
    expect(answers.filter(({ status }) => status < 500)).toEqual([]);
    expect(answers.filter(({ body }) => /P\d{4}|prisma|ECONN|postgres:|terminated/i.test(body))).toEqual([]);
    expect(ready).toBe(503);
  });

  test('C60: the service recovers by itself, and running tasks are neither lost nor failed', async () => {
    const quick = await alice.submit({ type: 'demo.wait', payload: { durationMs: 0 } });
    await alice.until(quick.jobId, undefined, PATIENCE);
    expect(await alice.until(job.jobId, undefined, PATIENCE)).toMatchObject({
      status: 'completed',
      tasks: { completed: CONCURRENCY, failed: 0 },
    });
    const list = (await alice.get('/jobs?limit=200')).body.jobs as Job[];
    expect(list.map((each) => each.jobId).toSorted()).toEqual([job.jobId, quick.jobId].toSorted());
  });
});

test('C61: however many requests there were, Postgres has no more connections than the pools are large', async () => {
  for (let round = 0; round < 3; round++) {
    const jobs = await Promise.all(
      Array.from({ length: 100 }, () => alice.submit({ type: 'demo.wait', payload: { durationMs: 0 } })),
    );
    await Promise.all(jobs.slice(0, 10).map(({ jobId }) => alice.send('DELETE', `/jobs/${jobId}`)));
  }
  // Of requests and syncer, of claims and finishes, of heartbeats.
  expect((await open()).length).toBeLessThanOrEqual(5 + 4 + 1);
});

describe('an api that is told to stop with a request under way', () => {
  let answer: number | string;
  let refused: number | string;
  let tasks: object[];
  let code: number | null;
  beforeAll(async () => {
    const api = await startService({ ...environment, SERVICE_TYPE: 'api' });
    const bob = await apiUser({ url: api.url, databaseUrl: databaseUrl() }, 'bob');
    await bob.get('/jobs');
    const idle = connect(Number(new URL(api.url).port), '127.0.0.1');
    await once(idle, 'connect');
    link.delayMs = 400;
    const asked = statusOf(bob.send('POST', '/jobs', { numTask: 3 }, { 'idempotency-key': 'C65' }));
    // Written by now, but the service is still waiting for that word.
    tasks = await eventually(async () => {
      const rows = await sql(
        databaseUrl(),
        `SELECT t.id FROM idempotency_keys k JOIN tasks t ON t.job_id = k.job_id WHERE k.key = 'C65'`,
      );
      expect(rows.length).toBeGreaterThan(0);
      return rows;
    });
    const stopped = api.stop();
    await eventually(() => expect(api.log.join('\n')).toContain('longhaul stops'));
    refused = await statusOf(bob.get('/jobs'));
    answer = await asked;
    code = await stopped;
    idle.destroy();
    link.delayMs = 0;
  });

  test('C65: answers what it was asked before', () => {
    expect(answer).toBe(201);
  });

  test('C65: serves no new request, and what was accepted is whole', () => {
    expect(refused).not.toBe(200);
    expect(tasks).toHaveLength(3);
  });

  test('C68: exits with 0 although a client keeps its connection open', () => {
    expect(code).toBe(0);
  });
});
