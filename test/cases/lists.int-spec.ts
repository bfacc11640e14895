import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Job } from '@app/core';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';
import { sql } from './probe.js';

jest.setTimeout(60_000);

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let bob: ApiUser;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(serviceEnvironment(database.url, testRedis(), { SERVICE_TYPE: 'api' }));
  [alice, bob] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'bob')]);
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const later = { type: 'demo.wait', payload: { durationMs: 1 }, runAt: '2099-01-01T00:00:00Z' };
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const post = (body: unknown, headers?: Record<string, string>, user = alice) =>
  user.send('POST', '/jobs', body, headers);
/** Every page of a list, and how many there were. */
async function pagesOf(user: ApiUser, query: string): Promise<Job[][]> {
  const pages: Job[][] = [];
  for (let cursor = ''; cursor !== 'null';) {
    const { status, body } = await user.get(`/jobs?${query}${cursor && `&cursor=${cursor}`}`);
    expect([status, body.detail]).toEqual([200, undefined]);
    pages.push(body.jobs);
    cursor = String(body.nextCursor);
  }
  return pages;
}

describe('who asks', () => {
  test('C48: gets of the jobs of others what there is of a job that is not there, and changes nothing of them', async () => {
    const headers = { 'idempotency-key': 'C48' };
    const { jobId } = (await post({ ...later, labels: { project: 'C48' } }, headers)).body;
    const before = (await alice.get(`/jobs/${jobId}`)).body;
    for (const [method, path, body] of [
      ['GET', ''],
      ['GET', '/progress'],
      ['GET', '/status'],
      ['GET', '/tasks'],
      ['GET', '/events'],
      ['GET', '/explain'],
      ['POST', '/cancel'],
      ['DELETE', ''],
      ['POST', '/retry'],
      ['PUT', '', { runAt: '2098-01-01T00:00:00Z' }],
    ] as const) {
      const theirs = await bob.send(method, `/jobs/${jobId}${path}`, body);
      const none = await bob.send(method, `/jobs/${NOWHERE}${path}`, body);
      expect([method, path, theirs.status, theirs.body]).toEqual([method, path, 404, none.body]);
    }
    expect((await bob.get('/jobs?ownerId=alice')).status).toBe(400);
    expect((await bob.get('/jobs?labels.project=C48')).body.jobs).toEqual([]);
    const { nextCursor } = (await alice.get('/jobs?limit=1')).body;
    expect((await bob.get(`/jobs?limit=1&cursor=${nextCursor}`)).status).toBe(400);
    const bobs = await post({ ...later, labels: { project: 'C48' } }, headers, bob);
    expect([bobs.status, bobs.body.ownerId, bobs.body.jobId === jobId]).toEqual([201, 'bob', false]);
    const owners = new Set((await pagesOf(bob, 'limit=200')).flat().map(({ ownerId }) => ownerId));
    expect([...owners]).toEqual(['bob']);
    expect((await alice.get(`/jobs/${jobId}`)).body).toEqual(before);
  });

  test('C49: with a credential that is none, or not whole, gets 401', async () => {
    const claims = part({ sub: 'alice', exp: 4_102_444_800 });
    const tokens = [
      ...['none', 'None', 'NONE', 'nOnE'].flatMap((alg) => [
        `${part({ alg })}.${claims}.`,
        `${part({ alg })}.${claims}.eA`,
      ]),
      `${part({ alg: 'HS256' })}.${claims}.`,
      `${part({ alg: 'HS256' })}.${claims}.garbage`,
      `${part({ alg: 'HS256' })}.${claims}`,
      'x',
      '',
      'a.b.c',
      alice.key.slice(0, -1),
      `${alice.key}x`,
      alice.key.toUpperCase(),
    ];
    for (const token of tokens) {
      const { status, body } = await alice.send('GET', '/jobs', undefined, {
        authorization: `Bearer ${token}`,
      });
      expect([token, status, body.type]).toEqual([token, 401, 'urn:longhaul:problem:unauthenticated']);
    }
  });
});

describe('a list', () => {
  test('C44: of jobs of one moment has each of them once, whatever the size of its pages', async () => {
    const carol = await apiUser(service, 'carol');
    const made = await Promise.all(Array.from({ length: 60 }, () => carol.submit(later)));
    const ids = made.map(({ jobId }) => jobId).toSorted();
    for (const [limit, calls] of [
      [1, 60],
      [7, 9],
    ] as const) {
      const pages = await pagesOf(carol, `limit=${limit}`);
      expect(pages).toHaveLength(calls);
      expect(
        pages
          .flat()
          .map(({ jobId }) => jobId)
          .toSorted(),
      ).toEqual(ids);
    }
  });

  test('C46: counts jobs and not their tasks', async () => {
    const dave = await apiUser(service, 'dave');
    for (let nth = 0; nth < 10; nth++) await dave.submit({ ...later, numTask: 5 });
    const pages = await pagesOf(dave, 'limit=3');
    expect(pages.map((page) => page.map(({ tasks }) => tasks.total))).toEqual([
      [5, 5, 5],
      [5, 5, 5],
      [5, 5, 5],
      [5],
    ]);
  });

  test('C47: that is walked while jobs come and change misses and repeats none that was there all the time', async () => {
    await sql(
      database.url,
      `INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, outcome, failure_policy, max_attempts, resumable,
         finalize, payload, created_at, finished_at)
       SELECT gen_random_uuid(), 'erin', 'key:test', 'demo.wait', 'default', 'failed', 'failed', 'fail-fast', 1, false, false,
         '{}', now() - n * interval '1 ms', now() FROM generate_series(1, 3000) n`,
    );
    const there = await sql<{ id: string }>(database.url, `SELECT id FROM jobs WHERE owner_id = 'erin'`);
    const erin = await apiUser(service, 'erin');
    const walk = new AbortController();
    const meanwhile = (async () => {
      while (!walk.signal.aborted) {
        const { jobId } = await erin.submit({ ...later, payload: { durationMs: 1 } });
        await erin.send('DELETE', `/jobs/${jobId}`);
      }
    })();
    const pages: Job[][] = [];
    try {
      pages.push(...(await pagesOf(erin, 'status=failed,canceled&limit=100')));
    } finally {
      walk.abort();
      await meanwhile;
    }
    const seen = pages.flat().map(({ jobId }) => jobId);
    expect(new Set(seen).size).toBe(seen.length);
    const walked = new Set(seen);
    expect(there.filter(({ id }) => !walked.has(id))).toEqual([]);
  });
});
