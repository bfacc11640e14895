import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let bob: ApiUser;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(serviceEnvironment(database.url, testRedis()));
  [alice, bob] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'bob')]);
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const short = { type: 'demo.wait', payload: { durationMs: 50, steps: 2 } };
const long = { type: 'demo.wait', payload: { durationMs: 60_000, steps: 600 } };
const NOWHERE = '019a0000-0000-7000-8000-000000000000';

const ask = (headers: Record<string, string>) => fetch(`${service.url}/jobs`, { headers });

describe('the guard (feature 2)', () => {
  const routes = [
    ['GET', '/jobs'],
    ['POST', '/jobs'],
    ['GET', `/jobs/${NOWHERE}`],
    ['GET', `/jobs/${NOWHERE}/progress`],
    ['GET', `/jobs/${NOWHERE}/status`],
    ['GET', `/jobs/${NOWHERE}/tasks`],
    ['POST', `/jobs/${NOWHERE}/cancel`],
    ['DELETE', `/jobs/${NOWHERE}`],
    ['HEAD', '/jobs'],
    ['GET', '/jobs/'],
    ['GET', '//jobs'],
    ['GET', '/JOBS'],
  ];
  test.each(routes)('lets nobody without a valid key through %s %s', async (method, path) => {
    const keys = [undefined, 'Bearer nonsense', `Bearer ${alice.key.slice(0, -1)}`, 'Basic YTpi'];
    for (const authorization of keys) {
      const response = await fetch(`${service.url}${path}`, {
        method,
        headers: authorization ? { authorization } : {},
      });
      expect([401, 404]).toContain(response.status);
      if (path.startsWith('/jobs')) expect(response.status === 401 || path === '/jobs/').toBe(true);
    }
  });

  test('takes the key as Bearer or X-API-Key, and not both', async () => {
    expect((await ask({ 'x-api-key': alice.key })).status).toBe(200);
    expect((await ask({ 'x-api-key': alice.key, authorization: `Bearer ${alice.key}` })).status).toBe(400);
  });

  test('refuses a key without the scope of the route', async () => {
    const reader = await apiUser(service, 'alice', ['jobs:read']);
    expect((await reader.get('/jobs')).status).toBe(200);
    const refused = await reader.send('POST', '/jobs', short);
    expect([refused.status, refused.body.type]).toEqual([403, 'urn:longhaul:problem:insufficient-scope']);
  });
});

describe('another owner (feature 3)', () => {
  test('neither sees nor cancels a job, and gets what a random id gets', async () => {
    const job = await alice.submit(long);
    expect(
      (await bob.get('/jobs?limit=200')).body.jobs.map((seen: { jobId: string }) => seen.jobId),
    ).not.toContain(job.jobId);
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/progress'],
      ['GET', '/status'],
      ['GET', '/tasks'],
      ['POST', '/cancel'],
      ['DELETE', ''],
    ] as const) {
      const theirs = await bob.send(method, `/jobs/${job.jobId}${path}`);
      const random = await bob.send(method, `/jobs/${NOWHERE}${path}`);
      const malformed = await bob.send(method, `/jobs/x${path}`);
      expect(theirs.status).toBe(404);
      expect(theirs.body).toEqual(random.body);
      expect(malformed.body).toEqual(random.body);
    }
    expect((await alice.get(`/jobs/${job.jobId}/status`)).body.status).not.toBe('canceled');
    await alice.send('DELETE', `/jobs/${job.jobId}`);
  });
});

describe('an address that cannot be read', () => {
  test('is a problem like any other refusal', async () => {
    const { status, headers, body } = await alice.get('/jobs/%zz');
    expect([status, body.type]).toEqual([400, 'urn:longhaul:problem:malformed-request']);
    expect(headers.get('content-type')).toContain('application/problem+json');
  });

  test('of a very long id is that of no job', async () => {
    const long = 'x'.repeat(200);
    expect((await alice.get(`/jobs/${long}`)).body).toEqual((await alice.get(`/jobs/${NOWHERE}`)).body);
    expect((await fetch(`${service.url}/jobs/${long}`)).status).toBe(401);
  });

  test.each([
    [
      'too long',
      `GET /jobs?cursor=${'x'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
      431,
      'headers-too-large',
    ],
    [
      'so long that it is answered before it has all been sent',
      `GET /jobs?cursor=${'x'.repeat(2_000_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
      431,
      'headers-too-large',
    ],
    ['no HTTP', 'what is this\r\n\r\n', 400, 'malformed-request'],
  ])('is a problem when it is %s', async (_what, request, status, slug) => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(request);
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(head.toLowerCase()).toContain('content-type: application/problem+json');
    expect(JSON.parse(body)).toMatchObject({ status, type: `urn:longhaul:problem:${slug}` });
  });
});

describe('an id in capitals', () => {
  test('is answered as it is stored', async () => {
    const { jobId } = await alice.submit(short);
    for (const part of ['', '/status', '/progress']) {
      expect((await alice.get(`/jobs/${jobId.toUpperCase()}${part}`)).body.jobId).toBe(jobId);
    }
  });
});
