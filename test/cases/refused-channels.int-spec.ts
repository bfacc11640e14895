import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { RestrictedRedis } from '../support/restricted-redis.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';

const PATIENCE = { timeout: 30_000 };

let restricted: RestrictedRedis;
let database: TestDatabase;
let service: TestService;
let alice: ApiUser;

beforeAll(async () => {
  restricted = await RestrictedRedis.open();
  database = await createTestDatabase();
  const environment = serviceEnvironment(
    database.url,
    restricted.redis,
    // A heartbeat that comes late, so that a cancel which is quick has come by its channel.
    { MAX_CONCURRENT_TASKS: '20', LEASE: '90s' },
  );
  service = await startService(environment);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
  await restricted?.close();
});

/** A job that runs until it is canceled, and the state of its cancel long before a heartbeat. */
async function cancelOfRunning(): Promise<string> {
  const { jobId } = await alice.submit({ type: 'demo.wait', payload: { durationMs: 3_600_000 } });
  await alice.until(jobId, ['active']);
  await alice.send('POST', `/jobs/${jobId}/cancel`);
  await eventually(
    async () => expect((await alice.get(`/jobs/${jobId}`)).body.cancelReceipt.state).toBe('stopped'),
    { timeout: 20_000 },
  );
  return jobId;
}

test('C11 channels that are forbidden cost no connections, and cancels are heard again when they are allowed', async () => {
  await eventually(() => expect(service.log.join('\n')).toContain('not subscribed'));
  const { jobId } = await alice.submit({ numTask: 1 });
  await alice.until(jobId, ['completed']);
  const before = (await restricted.connections()).length;
  expect(await restricted.listeners('cancel')).toBe(0);
  // The connection of who listens is lost meanwhile, and comes back to a refusal.
  await restricted.cutListener();
  await eventually(async () => expect((await restricted.connections()).length).toBe(before), PATIENCE);
  await restricted.allow('&*');
  await eventually(async () => expect(await restricted.listeners('cancel')).toBe(1), PATIENCE);
  expect((await restricted.connections()).length).toBe(before);
  await cancelOfRunning();
  // And after another loss.
  await restricted.cutListener();
  await eventually(async () => expect(await restricted.listeners('cancel')).toBe(1), PATIENCE);
  await cancelOfRunning();
}, 120_000);

test('C11 thousands of short tasks leave no listener behind', async () => {
  const { jobId } = await alice.submit({ type: 'demo.wait', numTask: 3000, payload: { durationMs: 1 } });
  await alice.until(jobId, ['completed'], { timeout: 100_000 });
  expect(service.log.join('\n')).not.toMatch(/MaxListeners|memory leak|listener leak/i);
}, 120_000);
