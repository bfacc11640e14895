import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

jest.setTimeout(60_000);

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(serviceEnvironment(database.url, testRedis()));
  alice = await apiUser(service, 'alice');
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const short = { type: 'demo.wait', payload: { durationMs: 50, steps: 2 } };
const long = { type: 'demo.wait', payload: { durationMs: 60_000, steps: 600 } };
const NOWHERE = '019a0000-0000-7000-8000-000000000000';

describe('the list (feature 4)', () => {
  test('has the newest first, 50 by default, in pages that share nothing', async () => {
    const carol = await apiUser(service, 'carol');
    const ids: string[] = [];
    for (let i = 0; i < 55; i++)
      ids.push((await carol.submit({ type: 'demo.wait', payload: { durationMs: 0 } })).jobId);
    const first = (await carol.get('/jobs')).body;
    expect(first.jobs).toHaveLength(50);
    const second = (await carol.get(`/jobs?cursor=${first.nextCursor}`)).body;
    expect(second).toMatchObject({ nextCursor: null });
    const seen = [...first.jobs, ...second.jobs].map((job: { jobId: string }) => job.jobId);
    expect(seen).toEqual(ids.toReversed());
    const small = (await carol.get(`/jobs?limit=2&cursor=${first.nextCursor}`)).body;
    expect(small.jobs.map((job: { jobId: string }) => job.jobId)).toEqual(ids.toReversed().slice(50, 52));
  });

  test.each([
    'limit=abc',
    'limit=-1',
    'limit=0',
    'limit=201',
    'limit=99999999999',
    'limit=1&limit=2',
    'cursor=x',
    'colour=red',
  ])('refuses ?%s with 400', async (query) => {
    const { status, body } = await alice.get(`/jobs?${query}`);
    expect([status, body.type]).toEqual([400, 'urn:longhaul:problem:validation-error']);
  });
});

/** All the percents that are shown of a job of three tasks, the last of which takes longer than the others. */
async function watch(lastMs: number): Promise<number[]> {
  const tasks = [0, 0, lastMs].map((durationMs) => ({ payload: { durationMs, steps: 1 } }));
  const { jobId } = await alice.submit({ type: 'demo.wait', tasks });
  const seen: number[] = [];
  for (let status = 'queued'; status !== 'completed';) {
    const { body } = await alice.get(`/jobs/${jobId}/progress`);
    seen.push(body.progress);
    status = body.status;
  }
  expect(seen.toSorted((a, b) => a - b)).toEqual(seen);
  expect(seen.filter((progress) => progress === 100)).toHaveLength(1);
  return seen;
}

describe('one job (feature 5)', () => {
  test('shows state, progress, times and error', async () => {
    const job = await alice.submit({
      type: 'demo.wait',
      payload: { durationMs: 20, steps: 2, failPermanently: true },
    });
    const ended = await alice.until(job.jobId);
    expect(ended).toMatchObject({ status: 'failed', error: { code: 'handler_error', attempt: 1 } });
    const { body } = await alice.get(`/jobs/${job.jobId}/progress`);
    expect(body).toMatchObject({ jobId: job.jobId, status: 'failed', error: { code: 'handler_error' } });
    for (const time of [body.createdAt, body.startedAt, body.finishedAt])
      expect(new Date(time).toISOString()).toBe(time);
    expect((await alice.get(`/jobs/${job.jobId}/status`)).body).toEqual({
      jobId: job.jobId,
      status: 'failed',
    });
  });

  test('shows whole percents, rounded down, that never go back (feature 11)', async () => {
    let seen = await watch(400);
    // Who looks too slowly for that looks at a longer one.
    for (let lastMs = 800; !seen.includes(66) && lastMs <= 12_800; lastMs *= 2) seen = await watch(lastMs);
    expect(seen).toContain(66);
  });
});

describe('cancelling', () => {
  test('an active job ends it at once, with a receipt (feature 13)', async () => {
    const job = await alice.submit({ ...long, numTask: 3 });
    await alice.until(job.jobId, ['active']);
    const { status, body } = await alice.send('POST', `/jobs/${job.jobId}/cancel`, {
      reason: 'changed my mind',
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'canceled', cancelReceipt: { reason: 'changed my mind' } });
    expect(body.finishedAt).not.toBeNull();
    const stopped = await eventually(async () => {
      const { body: now } = await alice.get(`/jobs/${job.jobId}`);
      expect(now.cancelReceipt.state).toBe('stopped');
      return now;
    });
    expect(stopped.cancelReceipt.stops.length).toBeGreaterThan(0);
    expect(stopped).toMatchObject({ status: 'canceled', version: body.version });
  });

  test('a waiting job keeps it from ever running (feature 14)', async () => {
    const blockers = await Promise.all([1, 2, 3, 4].map(() => alice.submit(long)));
    await Promise.all(blockers.map((blocker) => alice.until(blocker.jobId, ['active'])));
    const waiting = await alice.submit(short);
    expect((await alice.send('DELETE', `/jobs/${waiting.jobId}`)).body).toMatchObject({
      status: 'canceled',
      startedAt: null,
      cancelReceipt: { state: 'stopped', stops: [] },
    });
    await Promise.all(blockers.map((blocker) => alice.send('DELETE', `/jobs/${blocker.jobId}`)));
    // What was behind it in the queue runs, so its turn has come and gone.
    await alice.until((await alice.submit(short)).jobId);
    const { body } = await alice.get(`/jobs/${waiting.jobId}/tasks`);
    expect(body.tasks).toMatchObject([{ status: 'canceled', attempt: 0, startedAt: null }]);
  });

  test('an ended job is refused, a repeat gives the first answer, an unknown one is 404 (feature 15, input 66)', async () => {
    const done = await alice.submit({ type: 'demo.wait', payload: { durationMs: 0 } });
    const before = await alice.until(done.jobId);
    const refused = await alice.send('POST', `/jobs/${done.jobId}/cancel`);
    expect([refused.status, refused.body.jobStatus]).toEqual([409, 'completed']);
    expect(refused.body.type).toBe('urn:longhaul:problem:invalid-transition');
    expect((await alice.get(`/jobs/${done.jobId}`)).body).toEqual(before);

    const canceled = await alice.submit(long);
    const first = await alice.send('POST', `/jobs/${canceled.jobId}/cancel`, { reason: 'first' });
    const second = await alice.send('POST', `/jobs/${canceled.jobId}/cancel`, { reason: 'second' });
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.body.cancelReceipt).toMatchObject({
      reason: 'first',
      requestedAt: first.body.cancelReceipt.requestedAt,
    });
    expect((await alice.send('POST', `/jobs/${NOWHERE}/cancel`)).status).toBe(404);
    expect((await alice.send('POST', `/jobs/${canceled.jobId}/cancel`, { why: 1 })).status).toBe(400);
  });
});

describe('the service', () => {
  test('tells that it lives and is ready, to anybody', async () => {
    expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
    // Redis is told as away when it answers late for once.
    await eventually(async () =>
      expect(await (await fetch(`${service.url}/health/ready`)).json()).toEqual({
        status: 'ok',
        postgres: 'ok',
        redis: 'ok',
      }),
    );
  });

  test('shows its measurements, which name the part that they are about (feature 54)', async () => {
    await alice.until((await alice.submit({ type: 'demo.wait', payload: { durationMs: 0 } })).jobId);
    const response = await fetch(`${service.url}/metrics`);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      expect.stringContaining('text/plain'),
    ]);
    const text = await response.text();
    for (const name of [
      'claims',
      'finishes',
      'sweep_lag_seconds',
      'catalog_circuit',
      'races_retried',
      'running_tasks',
    ]) {
      expect(text).toContain(`# HELP longhaul_${name}`);
    }
    expect(text).toMatch(/^longhaul_claims_total\{result="claimed"\} [1-9]/m);
    expect(text).toContain('nodejs_eventloop_lag_seconds');
  });

  test('describes itself as OpenAPI, with a page', async () => {
    const document = (await (await fetch(`${service.url}/openapi.json`)).json()) as {
      paths: Record<string, object>;
    };
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/jobs', '/jobs/{jobId}', '/jobs/{jobId}/cancel', '/health/ready']),
    );
    expect(JSON.stringify(document.paths['/jobs'])).toContain('failurePolicy');
    expect((await fetch(`${service.url}/docs`)).headers.get('content-type')).toContain('text/html');
  });

  test('describes its limits, credentials and refusals as they are', async () => {
    // oxlint-disable-next-line typescript/no-explicit-any -- a document of the test's own reading
    const { paths, components } = (await (await fetch(`${service.url}/openapi.json`)).json()) as any;
    const { post, get } = paths['/jobs'];
    const body = JSON.stringify(post.requestBody);
    expect(body).toMatch(/"numTask":{[^}]*"maximum":10000/);
    expect(body).toContain('"maxItems":10000');
    expect(Object.keys(post.responses)).toEqual(expect.arrayContaining(['409', '413', '415', '500']));
    const limits = get.parameters.filter(({ name }: { name: string }) => name === 'limit');
    expect(limits).toHaveLength(1);
    expect(limits[0]).toMatchObject({
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 200, default: 50 },
    });
    const schemes = Object.entries<{ type: string; name?: string; bearerFormat?: string }>(
      components.securitySchemes,
    );
    const byHeader = schemes.find(([, { type, name }]) => type === 'apiKey' && name === 'X-API-Key');
    expect(schemes.find(([, { type }]) => type === 'http')?.[1].bearerFormat).not.toBe('JWT');
    expect(post.security).toContainEqual({ [byHeader?.[0] ?? '']: [] });
  });
});
