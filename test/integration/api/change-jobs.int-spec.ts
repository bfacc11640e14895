import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
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

const AFTER_9999 = '9999-12-31T23:59:59-23:00';
const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
const quick = { type: 'demo.wait', payload: { durationMs: 0 } };

describe('a job for later', () => {
  test.each([
    [{ runAt: 'tomorrow' }, '/runAt'],
    [{ runAt: '2030-01-01' }, '/runAt'],
    [{ runAt: 1_900_000_000 }, '/runAt'],
    [{ runAt: inMs(-60_000) }, '/runAt'],
    [{ runAt: inMs(7_200_000), expiresAt: inMs(3_600_000) }, '/expiresAt'],
    [{ runAt: AFTER_9999 }, '/runAt'],
    [{ expiresAt: AFTER_9999 }, '/expiresAt'],
  ])('is refused with an invalid or past time: %j (feature 22)', async (times, pointer) => {
    const { status, body } = await alice.send('POST', '/jobs', { ...quick, ...times });
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, pointer]);
  });

  test('is moved by PUT, and a job that is no longer scheduled is not (feature 24)', async () => {
    const job = await alice.submit({ ...quick, runAt: inMs(3_600_000) });
    expect(job.status).toBe('scheduled');
    const runAt = await eventually(async () => {
      // Has not passed when it comes to the service, or else another one is tried.
      const soon = inMs(500);
      const moved = await alice.send('PUT', `/jobs/${job.jobId}`, { runAt: soon });
      expect([moved.status, moved.body.runAt, moved.body.status]).toEqual([200, soon, 'scheduled']);
      return soon;
    });
    expect((await bob.send('PUT', `/jobs/${job.jobId}`, { runAt })).status).toBe(404);
    expect((await alice.send('PUT', `/jobs/${NOWHERE}`, { runAt })).status).toBe(404);
    expect((await alice.send('PUT', `/jobs/${job.jobId}`, { runAt: inMs(-1) })).status).toBe(400);
    expect((await alice.send('PUT', `/jobs/${job.jobId}`, {})).status).toBe(400);
    expect((await alice.until(job.jobId)).status).toBe('completed');
    const late = await alice.send('PUT', `/jobs/${job.jobId}`, { runAt: inMs(3_600_000) });
    expect([late.status, late.body.jobStatus]).toEqual([409, 'completed']);
  });
});

describe('a time that a job is moved to', () => {
  test('is refused when it is no year of four digits, or not before the job expires', async () => {
    const job = await alice.submit({ ...quick, runAt: inMs(3_600_000), expiresAt: '2099-01-01T00:00:00Z' });
    for (const runAt of [AFTER_9999, '2099-01-01T00:00:00Z', '2099-06-01T00:00:00Z']) {
      const { status, body } = await alice.send('PUT', `/jobs/${job.jobId}`, { runAt });
      expect([status, body.errors?.[0]?.pointer]).toEqual([400, '/runAt']);
    }
    expect((await alice.get(`/jobs/${job.jobId}`)).body).toEqual(withoutSuccess(job));
    const { status } = await alice.send('PUT', `/jobs/${job.jobId}`, { runAt: '2098-12-31T00:00:00Z' });
    expect(status).toBe(200);
    await alice.send('DELETE', `/jobs/${job.jobId}`);
  });
});

describe('what a route does not take', () => {
  const refused = [
    ['GET', '?foo=1', undefined],
    ['GET', '/progress?foo=1', undefined],
    ['GET', '/status?foo=1', undefined],
    ['GET', '/tasks?foo=1', undefined],
    ['PUT', '?foo=1', { runAt: '2098-12-31T00:00:00Z' }],
    ['POST', '/cancel?foo=1', undefined],
    ['POST', '/retry?foo=1', undefined],
    ['POST', '/retry', { foo: 1 }],
    ['DELETE', '', { foo: 1 }],
    ['DELETE', '?foo=1', undefined],
  ] as const;
  test.each(refused)('is refused: %s %s', async (method, path, body) => {
    const job = await alice.submit({ ...quick, runAt: '2099-01-01T00:00:00Z' });
    const answer = await alice.send(method, `/jobs/${job.jobId}${path}`, body);
    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([400, '/foo']);
    expect((await alice.get(`/jobs/${job.jobId}/status`)).body.status).toBe('scheduled');
    expect((await alice.send('DELETE', `/jobs/${job.jobId}`, {})).status).toBe(200);
  });

  test('is refused of POST /jobs and GET /jobs too', async () => {
    expect((await alice.send('POST', '/jobs?foo=1', quick)).body.errors?.[0]?.pointer).toBe('/foo');
    expect((await alice.get('/jobs?state=queued')).body.errors?.[0]?.pointer).toBe('/state');
  });
});

describe('a job whose plan fails', () => {
  test('names no task in its error: the plan is not one of them', async () => {
    const payload = { source: process.cwd(), target: '/nowhere', metadata: {} };
    const { jobId } = await alice.submit({ type: 'files.ingest', payload, attempts: 1 });
    const { error } = await alice.until(jobId);
    expect(error).toEqual({ code: expect.any(String), message: expect.any(String) });
  });
});

describe('a retry', () => {
  test('opens a failed job again, and no other, be it running or completed (features 50, 51, input 68)', async () => {
    const failing = { ...quick, payload: { durationMs: 0, failPermanently: true } };
    const job = await alice.submit(failing);
    await alice.until(job.jobId);
    expect((await bob.send('POST', `/jobs/${job.jobId}/retry`)).status).toBe(404);
    const retried = await alice.send('POST', `/jobs/${job.jobId}/retry`);
    expect(retried).toMatchObject({ status: 200, body: { generation: 2, error: null } });
    expect(await alice.until(job.jobId)).toMatchObject({ status: 'failed', generation: 2 });

    const done = await alice.submit(quick);
    await alice.until(done.jobId);
    const refused = await alice.send('POST', `/jobs/${done.jobId}/retry`);
    expect([refused.status, refused.body.type]).toEqual([409, 'urn:longhaul:problem:invalid-transition']);
    const running = await alice.submit({ ...quick, payload: { durationMs: 600_000 } });
    const { version } = await alice.until(running.jobId, ['active']);
    const early = await alice.send('POST', `/jobs/${running.jobId}/retry`);
    expect([early.status, early.body.jobStatus]).toEqual([409, 'active']);
    expect((await alice.get(`/jobs/${running.jobId}`)).body).toMatchObject({ version, generation: 1 });
    await alice.send('DELETE', `/jobs/${running.jobId}`);
    expect((await alice.send('POST', `/jobs/${NOWHERE}/retry`)).status).toBe(404);
  });
});

function withoutSuccess(job: object): object {
  const { success: _success, ...rest } = job as { success?: true };
  return rest;
}
