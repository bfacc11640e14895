import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Job } from '@app/core';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let admin: ApiUser;

beforeAll(async () => {
  database = await createTestDatabase();
  // Nobody listens where the Catalog should be.
  service = await startService(serviceEnvironment(database.url, testRedis(), { FINALIZE_LIMIT: '1s' }));
  [alice, admin] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'operator', ['admin'])]);
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const RESOLUTION = { status: 'completed', reason: 'the record was written by hand' };
const finalizing = async (): Promise<Job> => {
  const job = await alice.submit({ type: 'demo.wait', payload: { durationMs: 0 }, catalog: { name: 'x' } });
  return alice.until(job.jobId, ['finalizing']);
};
const resolve = (user: ApiUser, jobId: string, body: object = RESOLUTION) =>
  user.send('POST', `/jobs/${jobId}/resolve`, body);

test('an administrator ends a job of somebody else that the Catalog never answers', async () => {
  const { jobId, version } = await finalizing();
  const { status, body } = await resolve(admin, jobId);
  expect([status, body.status, body.progress, body.error]).toEqual([200, 'completed', 100, null]);
  expect(body.version).toBeGreaterThan(version);
  const again = await resolve(admin, jobId);
  expect([again.status, again.body.type, again.body.jobStatus]).toEqual([
    409,
    'urn:longhaul:problem:invalid-transition',
    'completed',
  ]);
  expect((await alice.get(`/jobs/${jobId}`)).body).toEqual(body);
});

test('a job that was resolved as failed says why, and its retry asks the Catalog anew', async () => {
  const { jobId } = await finalizing();
  const failed = await resolve(admin, jobId, { status: 'failed', reason: 'the Catalog is gone' });
  expect([failed.status, failed.body.status, failed.body.error.message]).toEqual([
    200,
    'failed',
    'Ended by an administrator: the Catalog is gone',
  ]);
  const retried = await alice.send('POST', `/jobs/${jobId}/retry`);
  expect([retried.status, retried.body.status, retried.body.generation]).toEqual([200, 'finalizing', 2]);
  expect((await resolve(admin, jobId)).status).toBe(200);
});

test('nobody but an administrator resolves, nothing but what is being finalized, and only as a job can end', async () => {
  const { jobId } = await finalizing();
  const refused = await resolve(alice, jobId);
  expect([refused.status, refused.body.type]).toEqual([403, 'urn:longhaul:problem:insufficient-scope']);
  for (const body of [
    {},
    { status: 'canceled', reason: 'x' },
    { status: 'failed' },
    { ...RESOLUTION, more: 1 },
  ])
    expect((await resolve(admin, jobId, body)).status).toBe(400);
  expect((await alice.get(`/jobs/${jobId}/status`)).body.status).toBe('finalizing');
  for (const unknown of [NOWHERE, 'x']) expect((await resolve(admin, unknown)).status).toBe(404);
  const later = await alice.submit({ type: 'demo.wait', runAt: '2099-01-01T00:00:00Z' });
  expect((await resolve(admin, later.jobId)).body.jobStatus).toBe('scheduled');
});

test('input 67: a job that is being finalized is canceled by nobody, and is as it was', async () => {
  const { jobId } = await finalizing();
  for (const user of [alice, admin]) {
    const refused = await user.send('POST', `/jobs/${jobId}/cancel`);
    expect([refused.status, refused.body.type, refused.body.jobStatus]).toEqual([
      409,
      'urn:longhaul:problem:invalid-transition',
      'finalizing',
    ]);
  }
  const { body } = await alice.get(`/jobs/${jobId}`);
  expect([body.status, body.cancelReceipt]).toEqual(['finalizing', null]);
});

test('a job that is finalized for too long is told of loudly', async () => {
  const { jobId } = await finalizing();
  await eventually(() => {
    const lines = service.log.filter((line) => line.includes(jobId) && line.includes('FINALIZE_LIMIT'));
    expect(lines.map((line) => JSON.parse(line).level)).toEqual([expect.stringMatching(/error|50/)]);
  });
});
