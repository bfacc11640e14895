import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Job } from '@app/core';
import { onDatabase } from '../../../scripts/db/database.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { servedRoutes, type ServedRoute } from '../../support/routes.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const short = { type: 'demo.wait', payload: { durationMs: 0 } };
const later = { ...short, runAt: '2999-01-01T00:00:00Z' };
const long = { type: 'demo.wait', payload: { durationMs: 600_000 } };

let database: TestDatabase;
let service: TestService;
let routes: ServedRoute[];
let [alice, bob, admin]: ApiUser[] = [];
/** Jobs of alice in every state from which something could be done to them, and none that changes by itself. */
let jobs: Record<string, Job>;

beforeAll(async () => {
  database = await createTestDatabase();
  const environment = serviceEnvironment(database.url, testRedis());
  [service, routes] = await Promise.all([startService(environment), servedRoutes(environment)]);
  [alice, bob, admin] = await Promise.all([
    apiUser(service, 'alice'),
    apiUser(service, 'bob'),
    apiUser(service, 'root', ['admin']),
  ]);
  const failing = { ...short, payload: { durationMs: 0, failPermanently: true } };
  const [scheduled, active, completed, failed, finalizing, canceled] = await Promise.all([
    alice!.submit(later),
    alice!.submit(long),
    alice!.submit(short),
    alice!.submit(failing),
    alice!.submit({ ...short, catalog: { name: 'x' } }),
    alice!.submit(later),
  ]);
  await alice!.send('DELETE', `/jobs/${canceled!.jobId}`);
  await Promise.all([
    alice!.until(active!.jobId, ['active']),
    alice!.until(completed!.jobId, ['completed']),
    alice!.until(failed!.jobId, ['failed']),
    alice!.until(finalizing!.jobId, ['finalizing']),
  ]);
  jobs = { scheduled, active, completed, failed, finalizing, canceled } as Record<string, Job>;
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

/** All that an answer shows, as it was sent; only the time and the name of the request differ from one to the next. */
async function wholeAnswer(user: ApiUser, { method, path }: ServedRoute, jobId: string) {
  const body = method === 'PUT' ? JSON.stringify({ runAt: '2998-01-01T00:00:00Z' }) : undefined;
  const response = await fetch(`${service.url}${path.replace(':jobId', jobId)}`, {
    method,
    headers: { 'x-api-key': user.key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body } : {}),
  });
  const requestId = response.headers.get('x-request-id') ?? '';
  const headers = [...response.headers].filter(([name]) => !['date', 'x-request-id'].includes(name));
  const text = (await response.text()).replaceAll(requestId, 'REQUEST');
  return { status: response.status, reason: response.statusText, headers, text };
}

/** What the database holds of jobs, but for what running ones change by themselves. */
const rowsOfJobs = () =>
  onDatabase(database.url, async (client) => {
    const read = async (sql: string) => (await client.query<{ row: string }>(sql)).rows.map(({ row }) => row);
    return [
      await read(`SELECT (to_jsonb(j) - 'progress' - 'progress_sum' - 'detail' - 'version')::text AS row
        FROM jobs j ORDER BY j.id`),
      await read(`SELECT t.id || t.status || t.fence AS row FROM tasks t ORDER BY t.id`),
      await read(`SELECT c::text AS row FROM cancellations c ORDER BY 1`),
      await read(
        `SELECT e.job_id || e.kind AS row FROM job_events e WHERE e.kind <> 'job.progress' ORDER BY 1`,
      ),
    ];
  });

describe('inputs 24-26, feature 3: every route of a job, for a job of another owner', () => {
  test('answers byte for byte what it answers for a random id, and changes nothing', async () => {
    const ofJobs = routes.filter(({ path }) => path.includes(':jobId'));
    expect(ofJobs.length).toBeGreaterThanOrEqual(15);
    const before = await rowsOfJobs();
    for (const route of ofJobs) {
      const random = await wholeAnswer(bob!, route, NOWHERE);
      // Only administrators resolve jobs; all others hear so whichever job they name.
      expect(random.status).toBe(route.path.endsWith('/resolve') ? 403 : 404);
      for (const [state, { jobId }] of Object.entries(jobs)) {
        const theirs = await wholeAnswer(bob!, route, jobId);
        expect({ route, state, ...theirs }).toEqual({ route, state, ...random });
        expect(theirs.text).not.toContain(jobId);
      }
    }
    expect(await rowsOfJobs()).toEqual(before);
  });
});

describe('lists and keys of another owner', () => {
  test('input 27: a cursor of another owner shows none of their jobs', async () => {
    const { body } = await alice!.get('/jobs?limit=1');
    expect(body.nextCursor).toEqual(expect.any(String));
    const { status, body: page } = await bob!.get(`/jobs?cursor=${encodeURIComponent(body.nextCursor)}`);
    expect([200, 400]).toContain(status);
    expect(page.jobs ?? []).toEqual([]);
    const { body: tasks } = await bob!.get(`/jobs/${jobs['completed']!.jobId}/tasks?limit=1`);
    expect(tasks.status).toBe(404);
  });

  test('input 28: a header that names another owner is not looked at', async () => {
    for (const name of ['x-tenant-id', 'x-owner-id', 'x-forwarded-user', 'x-user']) {
      const { status, body } = await bob!.send('GET', '/jobs', undefined, { [name]: 'alice' });
      expect([status, body.jobs]).toEqual([200, []]);
    }
  });

  test.each(['tenantId', 'ownerId', 'owner_id', 'owner'])(
    'input 29: a parameter %s that names another owner is refused',
    async (name) => {
      for (const path of ['/jobs', `/jobs/${jobs['completed']!.jobId}`]) {
        const { status, body } = await bob!.get(`${path}?${name}=alice`);
        expect([status, body.errors?.[0]?.pointer]).toEqual([400, `/${name}`]);
      }
      const submitted = await bob!.send('POST', '/jobs', { ...later, [name]: 'alice' });
      expect([submitted.status, submitted.body.errors?.[0]?.pointer]).toEqual([400, `/${name}`]);
    },
  );

  test('input 32: an Idempotency-Key and a dedupe key are of their owner alone', async () => {
    const keyed = { ...later, dedupeKey: 'one' };
    const submit = (user: ApiUser) => user.send('POST', '/jobs', keyed, { 'idempotency-key': 'the-same' });
    const [hers, his] = [await submit(alice!), await submit(bob!)];
    expect([hers.status, his.status]).toEqual([201, 201]);
    expect(his.body.jobId).not.toBe(hers.body.jobId);
    expect(his.headers.get('idempotency-replayed')).toBeNull();
    for (const [user, { body }] of [
      [alice!, hers],
      [bob!, his],
    ] as const)
      await user.send('DELETE', `/jobs/${body.jobId}`);
  });

  test('workers and pauses name no job of another owner', async () => {
    for (const path of ['/workers', '/pauses', '/job-types']) {
      const text = JSON.stringify((await bob!.get(path)).body);
      for (const { jobId } of Object.values(jobs)) expect(text).not.toContain(jobId);
    }
  });
});

describe('an administrator (feature 3)', () => {
  test('sees the jobs of all owners', async () => {
    const { jobId } = jobs['completed']!;
    for (const part of ['', '/progress', '/status', '/tasks', '/explain', '/events']) {
      const [hers, theirs] = [
        await alice!.get(`/jobs/${jobId}${part}`),
        await admin!.get(`/jobs/${jobId}${part}`),
      ];
      expect([theirs.status, theirs.body]).toEqual([200, hers.body]);
    }
    expect((await admin!.get(`/jobs/${NOWHERE}`)).status).toBe(404);
    expect((await admin!.get('/jobs/x')).status).toBe(404);
  });

  test('cancels, retries and moves them in their owner’s place, under the own name', async () => {
    const { jobId } = await alice!.submit(later);
    const moved = await admin!.send('PUT', `/jobs/${jobId}`, { runAt: '2998-01-01T00:00:00Z' });
    expect([moved.status, moved.body.runAt]).toEqual([200, '2998-01-01T00:00:00.000Z']);
    const canceled = await admin!.send('POST', `/jobs/${jobId}/cancel`, { reason: 'maintenance' });
    const actor = `key:${admin!.key.split('_')[1]}`;
    expect([canceled.status, canceled.body.cancelReceipt]).toEqual([
      200,
      expect.objectContaining({ actor, reason: 'maintenance' }),
    ]);
    expect((await admin!.send('POST', `/jobs/${jobId}/retry`)).status).toBe(200);
    expect((await alice!.send('DELETE', `/jobs/${jobId}`)).body.jobId).toBe(jobId);
    expect((await bob!.get(`/jobs/${jobId}`)).status).toBe(404);
  });
});
