import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
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
const ingest = { source: process.cwd(), target: '/elsewhere', metadata: {} };
const long = { type: 'demo.wait', payload: { durationMs: 60_000, steps: 600 } };

/** Submits a job for soon with a key of its own, again and again until it comes to the service before its time. */
const timedSubmit = (more: object) =>
  eventually(async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const body = { ...more, runAt: new Date(Date.now() + 1000).toISOString() };
    const answer = await alice.send('POST', '/jobs', body, headers);
    expect(answer.status).toBe(201);
    return { body, headers, answer };
  });

describe('submitting', () => {
  test('answers 201 with the job, which runs all its tasks (feature 6)', async () => {
    const { status, headers, body } = await alice.send('POST', '/jobs', { ...short, numTask: 5 });
    expect(status).toBe(201);
    expect(body).toMatchObject({ success: true, type: 'demo.wait', status: 'queued', tasks: { total: 5 } });
    expect(headers.get('location')).toBe(`/jobs/${body.jobId}`);
    const ended = await alice.until(body.jobId);
    expect(ended).toMatchObject({ status: 'completed', progress: 100, tasks: { total: 5, completed: 5 } });
    const tasks = await alice.get(`/jobs/${body.jobId}/tasks`);
    expect(tasks.body.tasks.map((task: { status: string }) => task.status)).toEqual(
      Array(5).fill('completed'),
    );
  });

  test('answers what a GET answers afterwards', async () => {
    const times = { runAt: '2099-01-01T00:00:00.000Z', expiresAt: '2099-02-01T00:00:00.000Z' };
    const kept = {
      ...short,
      ...times,
      failurePolicy: 'continue',
      attempts: 5,
      payload: { steps: 3, durationMs: 9 },
    };
    for (const input of [
      { ...kept, numTask: 3 },
      { ...times, type: 'files.ingest', payload: ingest },
    ]) {
      const { success: _success, ...job } = (await alice.send('POST', '/jobs', input)).body;
      expect((await alice.get(`/jobs/${job.jobId}`)).body).toMatchObject(job);
      await alice.send('DELETE', `/jobs/${job.jobId}`);
    }
  });

  test('refuses a second open job of one dedupeKey, naming the first, until that has ended (feature 47)', async () => {
    const body = { ...long, dedupeKey: 'model 7, ingestion' };
    const first = await alice.submit(body);
    const refused = await alice.send('POST', '/jobs', body);
    expect(refused.status).toBe(409);
    expect(refused.body).toMatchObject({
      type: 'urn:longhaul:problem:duplicate-job',
      jobId: first.jobId,
    });
    // The keys of somebody else are others.
    const bobs = await bob.submit(body);
    await bob.send('DELETE', `/jobs/${bobs.jobId}`);
    await alice.send('DELETE', `/jobs/${first.jobId}`);
    const second = await alice.submit(body);
    expect((await alice.send('POST', `/jobs/${first.jobId}/retry`)).body).toMatchObject({
      status: 409,
      jobId: second.jobId,
    });
    await alice.send('DELETE', `/jobs/${second.jobId}`);
  });

  test('takes {"numTask": 20} alone for a job of 20 demo tasks (feature 6)', async () => {
    const job = await alice.submit({ numTask: 20 });
    expect(job).toMatchObject({ type: 'demo.wait', tasks: { total: 20 } });
    expect((await alice.until(job.jobId)).status).toBe('completed');
  });

  test.each([
    ['nothing', {}, '/type'],
    ['no task', { numTask: 0 }, '/numTask'],
    ['less than none', { numTask: -1 }, '/numTask'],
    ['half a task', { numTask: 1.5 }, '/numTask'],
    ['a number as text', { numTask: '20' }, '/numTask'],
    ['too many tasks', { numTask: 10_001 }, '/numTask'],
    ['a field that is not known', { ...short, colour: 'red' }, '/colour'],
    [
      'a field of a task that is not known',
      { type: 'demo.wait', tasks: [{}, { colour: 1 }] },
      '/tasks/1/colour',
    ],
    ['a field of the payload that is not known', { type: 'demo.wait', payload: { a: 1 } }, '/payload/a'],
    ['an id for the Catalog', { ...short, catalog: { name: 'x', id: 'mine' } }, '/catalog/id'],
    ['links for the Catalog', { ...short, catalog: { links: [] } }, '/catalog/links'],
    ['an unknown type', { type: 'no.such' }, '/type'],
    [
      'a payload that the type refuses',
      { type: 'demo.wait', payload: { durationMs: -1 } },
      '/payload/durationMs',
    ],
    [
      'a task’s payload that the type refuses',
      { type: 'demo.wait', tasks: [{}, { payload: { steps: 'x' } }] },
      '/tasks/1/payload/steps',
    ],
    ['two tasks of one key', { type: 'demo.wait', tasks: [{ key: 'a' }, { key: 'a' }] }, '/tasks/1/key'],
    [
      'tasks for a type that plans them',
      { type: 'files.ingest', numTask: 2, payload: { source: '/a', target: '/b' } },
      '/numTask',
    ],
  ])(
    'refuses %s with 400 that names the place, and writes nothing (feature 6)',
    async (_what, body, pointer) => {
      const before = (await alice.get('/jobs?limit=1')).body.jobs[0]?.jobId;
      const answer = await alice.send('POST', '/jobs', body);
      expect(answer.status).toBe(400);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(answer.body.errors[0].pointer).toBe(pointer);
      expect((await alice.get('/jobs?limit=1')).body.jobs[0]?.jobId).toBe(before);
    },
  );

  test.each([
    ['{"numTask": ', 'application/json', 400],
    ['numTask=20', 'application/x-www-form-urlencoded', 415],
    [`{"type":"demo.wait","payload":${'['.repeat(500)}1${']'.repeat(500)}}`, 'application/json', 400],
  ])('refuses a body that cannot be read (feature 6)', async (body, type, status) => {
    const answer = await alice.send('POST', '/jobs', body, { 'content-type': type });
    expect(answer.status).toBe(status);
    expect(answer.body.type).toMatch(/^urn:longhaul:problem:/);
  });

  test.each([
    ['{"numTask":1,"catalog":{"n":12345678901234567890}}', '/catalog/n'],
    ['{"type":"demo.wait","payload":{"durationMs":-9007199254740993}}', '/payload/durationMs'],
    [
      '{"type":"demo.wait","tasks":[{},{"payload":{"a/b":[1,{"c":9007199254740992}]}}]}',
      '/tasks/1/payload/a~1b/1/c',
    ],
    ['{"numTask":1,"catalog":{"a":{"__proto__":{"b":1}}}}', '/catalog/a/__proto__'],
    ['{"numTask":1,"catalog":{"\\u005f_proto__":1}}', '/catalog/__proto__'],
  ])('refuses what would be changed silently, naming the place: %s', async (text, pointer) => {
    const answer = await alice.send('POST', '/jobs', text);
    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([400, pointer]);
  });

  test('says what is to be sent when nothing was, or without its type', async () => {
    const nothing = await alice.send('POST', '/jobs');
    expect([nothing.status, nothing.body.detail]).toEqual([400, 'body: Send a JSON object.']);
    const untyped = await alice.send('POST', '/jobs', '{"numTask":1}', { 'content-type': 'text/plain' });
    expect([untyped.status, untyped.body.detail]).toEqual([
      415,
      'Send the body as JSON, with Content-Type: application/json.',
    ]);
  });

  test('refuses a body of more than 256 KiB before it is sent (feature 6)', async () => {
    const request = http.request(`${service.url}/jobs`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${alice.key}`,
        'content-type': 'application/json',
        'content-length': 256 * 1024 + 1,
      },
    });
    request.flushHeaders();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    expect(response.statusCode).toBe(413);
    request.destroy();
  });

  test('is visible at once in the list and by its id (feature 7)', async () => {
    const job = await alice.submit(long);
    expect((await alice.get(`/jobs/${job.jobId}`)).body.jobId).toBe(job.jobId);
    expect((await alice.get('/jobs?limit=1')).body.jobs[0].jobId).toBe(job.jobId);
    await alice.send('DELETE', `/jobs/${job.jobId}`);
  });

  test('twice with one Idempotency-Key gives one job, and another body is refused (input 51)', async () => {
    const headers = { 'idempotency-key': 'order-1' };
    const answers = await Promise.all([1, 2, 3, 4].map(() => alice.send('POST', '/jobs', short, headers)));
    expect(answers.map((answer) => answer.status)).toEqual([201, 201, 201, 201]);
    expect(new Set(answers.map((answer) => answer.body.jobId)).size).toBe(1);
    expect(answers.filter((answer) => answer.headers.get('idempotency-replayed') === 'true')).toHaveLength(3);
    const other = await alice.send('POST', '/jobs', long, headers);
    expect([other.status, other.body.type]).toEqual([422, 'urn:longhaul:problem:idempotency-mismatch']);
    const bobs = await bob.send('POST', '/jobs', short, headers);
    expect([bobs.status, bobs.body.jobId === answers[0]?.body.jobId]).toEqual([201, false]);
    expect((await alice.send('POST', '/jobs', short, { 'idempotency-key': 'a b' })).status).toBe(400);
  });

  test('again with its Idempotency-Key gives the first job also when its time has passed', async () => {
    const { body: timed, headers, answer: first } = await timedSubmit(short);
    await alice.until(first.body.jobId);
    const again = await alice.send('POST', '/jobs', timed, headers);
    expect([again.status, again.body.jobId]).toEqual([201, first.body.jobId]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    // Another time is another body, whether it has passed or not.
    for (const runAt of ['2020-01-01T00:00:00Z', '2099-01-01T00:00:00Z']) {
      const other = await alice.send('POST', '/jobs', { ...timed, runAt }, headers);
      expect([other.status, other.body.type]).toEqual([422, 'urn:longhaul:problem:idempotency-mismatch']);
    }
    const unused = await alice.send('POST', '/jobs', timed, { 'idempotency-key': 'timed-2' });
    expect([unused.status, unused.body.errors[0].pointer]).toEqual([400, '/runAt']);
  });

  test('C53: a key is kept for 24 hours, though its job is deleted before, and is free after them', async () => {
    const asked = { type: 'demo.wait', payload: { durationMs: 1 }, numTask: 2 };
    const { body: timed, headers, answer: first } = await timedSubmit(asked);
    const { jobId } = first.body;
    await alice.until(jobId);
    const sql = (text: string) =>
      onDatabase(database.url, (client) => client.query(text, [jobId]).then(({ rowCount }) => rowCount));
    await sql("UPDATE jobs SET finished_at = now() - interval '90 days' WHERE id = $1");
    await eventually(async () => expect((await alice.get(`/jobs/${jobId}`)).status).toBe(404));
    const again = await alice.send('POST', '/jobs', timed, headers);
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true']);
    // As it was answered first: accepted, and due at a time that has passed since.
    expect(again.body).toEqual(first.body);
    expect((await alice.send('POST', '/jobs', short, headers)).status).toBe(422);

    const age = "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours' WHERE job_id = $1";
    expect(await sql(age)).toBe(1);
    const anew = await alice.send('POST', '/jobs', short, headers);
    expect([anew.status, anew.headers.get('idempotency-replayed')]).toEqual([201, null]);
    expect(anew.body.jobId).not.toBe(jobId);
  });
});
