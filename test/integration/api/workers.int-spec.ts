import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Worker } from '@app/core';
import { onDatabase } from '../../../scripts/db/database.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
let worker: TestService;
let [alice, bob, admin]: ApiUser[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  const redis = testRedis();
  [service, worker] = await Promise.all([
    startService(serviceEnvironment(database.url, redis, { SERVICE_TYPE: 'api' })),
    startService(
      serviceEnvironment(database.url, redis, {
        SERVICE_TYPE: 'task-worker',
        WORKER_TAGS: 'moon',
        MAX_CONCURRENT_TASKS: '7',
      }),
    ),
  ]);
  [alice, bob, admin] = await Promise.all([
    apiUser(service, 'alice'),
    apiUser(service, 'bob'),
    apiUser(service, 'root', ['admin']),
  ]);
}, 60_000);
afterAll(async () => {
  await Promise.all([service?.stop(), worker?.stop()]);
  await database?.drop();
});

const long = { type: 'demo.wait', payload: { durationMs: 60_000, steps: 600 } };
const seenBy = async (user?: ApiUser): Promise<Worker[]> => {
  const { status, body } = (await user?.get('/workers')) ?? {};
  expect(status).toBe(200);
  return body.workers;
};

/** How a running task of a job shows. */
const job = (id: string | undefined) => ({
  jobId: id,
  taskId: expect.any(String),
  type: 'demo.wait',
  startedAt: expect.stringMatching(/^\d{4}-.*Z$/),
});

describe('GET /workers', () => {
  test('shows a worker with what it can run', async () => {
    const workers = await seenBy(alice);
    expect(workers).toEqual([
      {
        workerId: expect.any(String),
        host: expect.any(String),
        tags: ['moon'],
        queues: ['default'],
        slots: 7,
        types: expect.arrayContaining([{ name: 'demo.wait', version: 1 }]),
        startedAt: expect.any(String),
        seenAt: expect.any(String),
        runningCount: 0,
        running: [],
      },
    ]);
  });

  test('shows running tasks to their owner and to an admin, and their number to everybody', async () => {
    const [hers, his] = [await alice?.submit({ ...long, numTask: 2 }), await bob?.submit(long)];
    await eventually(async () => expect((await seenBy(alice))[0]?.runningCount).toBe(3));
    expect((await seenBy(alice))[0]?.running).toEqual([job(hers?.jobId), job(hers?.jobId)]);
    expect((await seenBy(bob))[0]).toMatchObject({ runningCount: 3, running: [job(his?.jobId)] });
    const all = (await seenBy(admin))[0]?.running.map((task) => task.jobId);
    expect(all?.toSorted()).toEqual([hers?.jobId, hers?.jobId, his?.jobId].toSorted());
    await bob?.send('DELETE', `/jobs/${his?.jobId}`);
    // From the answer on, whatever the last heartbeat has said.
    expect((await seenBy(admin))[0]?.runningCount).toBe(2);
    await alice?.send('DELETE', `/jobs/${hers?.jobId}`);
    expect((await seenBy(alice))[0]).toMatchObject({ runningCount: 0, running: [] });
  });

  test('shows no worker that has been silent or has stopped, and takes no parameter', async () => {
    const { status, body } = (await alice?.get('/workers?all=1')) ?? {};
    expect([status, body.errors]).toEqual([
      400,
      [{ pointer: '/all', message: 'There is no such parameter.' }],
    ]);
    await onDatabase(database.url, (client) =>
      client.query(`INSERT INTO workers (id, host, pid, queues, seen_at)
        VALUES (gen_random_uuid(), 'gone', 1, '{default}', now() - interval '1 minute')`),
    );
    expect((await seenBy(alice)).map(({ host }) => host)).not.toContain('gone');
    await worker.stop();
    expect(await seenBy(alice)).toEqual([]);
  });

  test('says at the start which tags no job type declares (feature 29)', () => {
    expect(worker.log.join('\n')).toMatch(
      /"tags":\["moon"\].*WORKER_TAGS names tags that no job type declares/,
    );
  });
});

test('GET /job-types shows the schemas of what may be submitted', async () => {
  const { status, body } = (await alice?.get('/job-types')) ?? {};
  expect(status).toBe(200);
  const names = body.jobTypes.map(({ name }: { name: string }) => name);
  expect(names).toEqual(names.toSorted());
  expect(body.jobTypes).toContainEqual(
    expect.objectContaining({
      name: 'demo.wait',
      version: 1,
      tag: null,
      plans: false,
      payload: expect.objectContaining({ type: 'object', additionalProperties: false }),
    }),
  );
});

test('POST /jobs refuses a tag that no job type declares (feature 29)', async () => {
  const { status, body } = (await alice?.send('POST', '/jobs', { ...long, tag: 'moon' })) ?? {};
  expect([status, body.errors?.[0]?.pointer]).toEqual([400, '/tag']);
  expect(body.type).toBe('urn:longhaul:problem:validation-error');
});

test.each(['/workers', '/job-types'])('GET %s needs a key, and is described', async (path) => {
  expect((await fetch(`${service.url}${path}`)).status).toBe(401);
  const document = (await (await fetch(`${service.url}/openapi.json`)).json()) as {
    paths: Record<string, { get: { responses: object; security: object[] } }>;
  };
  expect(Object.keys(document.paths[path]?.get.responses ?? {})).toEqual(
    expect.arrayContaining(['200', '400', '401', '403', '503']),
  );
});
