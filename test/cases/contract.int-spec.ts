import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Proxy } from '../faults/harness/proxy.js';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { testRedis } from '../support/redis.js';
import { eventually } from '../support/eventually.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';
import { sql } from './probe.js';

jest.setTimeout(60_000);

let database: TestDatabase;
let link: Proxy;
let service: TestService;
let alice: ApiUser;
let bob: ApiUser;

beforeAll(async () => {
  const redis = testRedis();
  [database, link] = await Promise.all([
    createTestDatabase(),
    Proxy.start(Number(new URL(redis.url).port), 'redis'),
  ]);
  const url = `redis://127.0.0.1:${link.port}`;
  service = await startService(serviceEnvironment(database.url, { url, prefix: redis.prefix }));
  [alice, bob] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'bob')]);
});
afterAll(async () => {
  await service?.stop();
  await Promise.all([link?.stop(), database?.drop()]);
});

const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const quick = { type: 'demo.wait', payload: { durationMs: 1, steps: 1 } };
const held = { type: 'demo.wait', payload: { durationMs: 3_600_000 } };
const later = { ...quick, runAt: '2099-01-01T00:00:00Z' };
const post = (body: unknown, headers?: Record<string, string>, user = alice) =>
  user.send('POST', '/jobs', body, headers);
const count = async () =>
  (await sql<{ n: number }>(database.url, 'SELECT count(*)::int AS n FROM jobs'))[0]?.n;
/** How a body is answered that is refused while it is still being sent, which `fetch` takes for a failure. */
function statusOf(body: string): Promise<number | undefined> {
  return new Promise((settle, reject) => {
    const headers = { authorization: `Bearer ${alice.key}`, 'content-type': 'application/json' };
    const asked = request(`${service.url}/jobs`, { method: 'POST', headers }, (response) => {
      response.resume();
      settle(response.statusCode);
    });
    // Once it is answered, this comes too late.
    asked.on('error', reject).end(body);
  });
}

describe('a cancel', () => {
  test('C06: of what has ended is refused with its state, a repeat is the same answer, and nothing changes', async () => {
    const completed = await alice.submit(quick);
    const failed = await alice.submit({ ...quick, payload: { durationMs: 1, failPermanently: true } });
    for (const [{ jobId }, state] of [
      [completed, 'completed'],
      [failed, 'failed'],
    ] as const) {
      const before = await alice.until(jobId, [state]);
      for (const answer of [
        await alice.send('POST', `/jobs/${jobId}/cancel`),
        await alice.send('DELETE', `/jobs/${jobId}`),
      ]) {
        expect([answer.status, answer.body.jobStatus]).toEqual([409, state]);
      }
      expect((await alice.get(`/jobs/${jobId}`)).body).toEqual(before);
    }
    const { jobId } = await alice.submit(held);
    await alice.until(jobId, ['active']);
    const both = await Promise.all([1, 2].map(() => alice.send('POST', `/jobs/${jobId}/cancel`, {})));
    expect(both.map(({ status, body }) => [status, body.status])).toEqual([
      [200, 'canceled'],
      [200, 'canceled'],
    ]);
    const stopped = await eventually(async () => {
      const { body } = await alice.get(`/jobs/${jobId}`);
      expect(body.cancelReceipt.state).toBe('stopped');
      return body;
    });
    const again = await alice.send('POST', `/jobs/${jobId}/cancel`, { reason: 'once more' });
    expect([again.status, again.body]).toEqual([200, stopped]);
  });
});

describe('what is sent', () => {
  test('C39: with a NUL is refused at its place, in a body and in a filter', async () => {
    const before = await count();
    for (const [body, pointer] of [
      [{ ...quick, payload: { result: 'a\0b' } }, '/payload/result'],
      [{ ...quick, dedupeKey: '\0' }, '/dedupeKey'],
      [{ ...quick, tasks: [{ key: 'a\0' }] }, '/tasks/0/key'],
      [{ ...quick, catalog: { name: '\0' } }, '/catalog/name'],
    ] as const) {
      const answer = await post(body);
      expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([400, pointer]);
    }
    for (const filter of ['type=%00', 'tag=a%00', 'labels.project=%00', 'cursor=%00'])
      expect([filter, (await alice.get(`/jobs?${filter}`)).status]).toEqual([filter, 400]);
    expect(await count()).toBe(before);
  });

  test('C41: with a number that would not come back as it is is refused; the largest one comes back', async () => {
    for (const number of ['9007199254740993', '-9007199254740993', '1e400']) {
      const answer = await post(`{"type":"demo.wait","payload":{"durationMs":1,"result":${number}}}`);
      expect([number, answer.status, answer.body.errors?.[0]?.pointer]).toEqual([
        number,
        400,
        '/payload/result',
      ]);
    }
    const result = { count: Number.MAX_SAFE_INTEGER, text: '9007199254740993' };
    const { jobId } = await alice.submit({ ...quick, payload: { durationMs: 1, result } });
    expect((await alice.until(jobId)).payload).toMatchObject({ result });
    expect((await alice.get(`/jobs/${jobId}/tasks`)).body.tasks[0].result).toEqual(result);
    expect((await alice.get('/jobs')).status).toBe(200);
  });

  test('C42: keys of digits, with colons and dots are taken as they are; what is no key is refused', async () => {
    const keys = ['123', '0', 'a:b', 'a:b:c', '../x'];
    for (const dedupeKey of keys) {
      const { jobId } = await alice.submit({ ...quick, dedupeKey, tasks: keys.map((key) => ({ key })) });
      expect((await alice.until(jobId)).status).toBe('completed');
      const { tasks } = (await alice.get(`/jobs/${jobId}/tasks`)).body;
      expect(tasks.map(({ key }: { key: string }) => key)).toEqual(keys);
    }
    for (const key of keys) expect((await post(later, { 'idempotency-key': key })).status).toBe(201);
    const before = await count();
    for (const key of [123, '', 'x'.repeat(300), null, ['a']]) {
      expect([key, (await post({ ...quick, dedupeKey: key })).status]).toEqual([key, 400]);
      expect([key, (await post({ ...quick, tasks: [{ key }] })).status]).toEqual([key, 400]);
    }
    expect(await count()).toBe(before);
  });

  test('C53: a key of a submit gives its job, however the body is ordered and whether it has ended, to its owner', async () => {
    const headers = { 'idempotency-key': 'C53' };
    const first = await post({ type: 'demo.wait', payload: { durationMs: 1, steps: 1 } }, headers);
    const { jobId } = first.body;
    await alice.until(jobId);
    const again = await post({ payload: { steps: 1, durationMs: 1 }, type: 'demo.wait' }, headers);
    expect([again.status, again.body.jobId, again.body.status]).toEqual([201, jobId, 'completed']);
    const before = await count();
    expect((await post({ ...quick, numTask: 2 }, headers)).status).toBe(422);
    expect(await count()).toBe(before);
    const bobs = await post(quick, headers, bob);
    expect([bobs.status, bobs.headers.get('idempotency-replayed')]).toEqual([201, null]);
  });

  test('C55: with what only the service may say is refused, at its place, and reaches no prototype', async () => {
    const before = await count();
    const fields = {
      id: 'x',
      jobId: 'x',
      ownerId: 'bob',
      status: 'completed',
      progress: 100,
      createdAt: 'x',
      attemptsMade: 1,
    };
    for (const [field, value] of Object.entries(fields)) {
      for (const [body, pointer] of [
        [{ ...quick, [field]: value }, `/${field}`],
        [{ ...quick, tasks: [{ [field]: value }] }, `/tasks/0/${field}`],
      ] as const) {
        const answer = await post(body);
        expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([400, pointer]);
      }
    }
    expect((await post({ ...quick, priority: 101 })).status).toBe(400);
    for (const text of [
      '{"type":"demo.wait","__proto__":{"numTask":5}}',
      '{"type":"demo.wait","payload":{"__proto__":{"polluted":true}}}',
      '{"type":"demo.wait","tasks":[{"constructor":{"prototype":{"polluted":true}}}]}',
    ])
      expect([text, (await post(text)).status]).toEqual([text, 400]);
    expect(await count()).toBe(before);
    const job = await alice.submit(quick);
    expect([job.ownerId, job.status, 'polluted' in job]).toEqual(['alice', 'queued', false]);
  });

  test('C56: too large, broken, deep or of another kind is refused as that; what just fits works to its end', async () => {
    const limit = 256 * 1024;
    const bodyOf = (bytes: number) => {
      const around = JSON.stringify({ ...quick, payload: { durationMs: 1, throwValue: '' } });
      return around.replace('"throwValue":""', `"throwValue":"${'x'.repeat(bytes - around.length)}"`);
    };
    const tried = [
      [await post(bodyOf(limit + 1)), 413],
      [await post({ ...quick, tasks: [{ payload: { durationMs: 1, result: 'y'.repeat(1_000_000) } }] }), 413],
      [await post('{"type": "demo.wait"'), 400],
      [await post(JSON.stringify(quick), { 'content-type': 'text/plain' }), 415],
      [
        await post(`{"type":"demo.wait","payload":{"result":${'['.repeat(10_000)}${']'.repeat(10_000)}}}`),
        400,
      ],
    ] as const;
    for (const [{ status, body, headers }, expected] of tried) {
      expect([status, body.status]).toEqual([expected, expected]);
      expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
    }
    expect(await statusOf(bodyOf(50_000_000))).toBe(413);
    const fitting = await post(bodyOf(limit));
    expect(fitting.status).toBe(201);
    expect((await alice.until(fitting.body.jobId)).status).toBe('completed');
    expect((await alice.get(`/jobs/${fitting.body.jobId}`)).body.payload).toEqual(fitting.body.payload);
  });

  test('C57: ids and parameters that are none are 400 or 404, and tell nothing; an id may be in upper case', async () => {
    const { jobId } = await alice.submit(later);
    const none = (await alice.get(`/jobs/${NOWHERE}`)).body;
    for (const id of ['abc', '%00', "'", '%27%3B--', 'x'.repeat(10_000), `${jobId}x`, '%F0%9F%92%A5']) {
      for (const [method, path] of [
        ['GET', `/jobs/${id}`],
        ['POST', `/jobs/${id}/cancel`],
        ['GET', `/jobs/${id}/tasks`],
      ] as const) {
        const { status, body } = await alice.send(method, path);
        expect([id.slice(0, 20), status, body]).toEqual([id.slice(0, 20), 404, none]);
      }
    }
    for (const query of [
      'limit=-1',
      'limit=0',
      'limit=abc',
      'limit=1e9',
      'cursor=broken',
      'status=unknown',
    ]) {
      const { status, body } = await alice.get(`/jobs?${query}`);
      expect([query, status, body.errors.length]).toEqual([query, 400, 1]);
      expect(JSON.stringify(body)).not.toMatch(/prisma|SELECT|postgres/i);
    }
    expect((await alice.get(`/jobs/${jobId.toUpperCase()}`)).body.jobId).toBe(jobId);
    expect((await alice.send('DELETE', `/jobs/${jobId.toUpperCase()}`)).body.status).toBe('canceled');
  });
});

describe('while Redis is away', () => {
  test('C20: jobs are accepted, read and canceled at once, and what was accepted runs when it is back', async () => {
    const running = await alice.submit(later);
    link.partition();
    await eventually(async () =>
      expect((await alice.get('/health/ready')).body).toMatchObject({
        status: 'degraded',
        redis: 'unavailable',
      }),
    );
    const began = performance.now();
    const accepted = await post(quick);
    const asked = [
      await alice.get('/jobs'),
      await alice.get(`/jobs/${accepted.body.jobId}`),
      await alice.get(`/jobs/${accepted.body.jobId}/progress`),
      await alice.send('POST', `/jobs/${running.jobId}/cancel`, {}),
    ];
    expect(accepted.status).toBe(201);
    expect(asked.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(performance.now() - began).toBeLessThan(15_000);
    link.heal();
    expect((await alice.until(accepted.body.jobId, undefined, { timeout: 30_000 })).status).toBe('completed');
  });
});
