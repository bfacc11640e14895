import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../support/service.js';

const USER = `worker_${randomUUID().slice(0, 8)}`;
const redis = testRedis();
const admin = new Redis(redis.url);

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;

/** What the service may do in Redis; without channels it can listen to nothing. */
const allow = (...channels: string[]) =>
  admin.call('ACL', 'SETUSER', USER, 'on', '>secret', '~*', '+@all', 'resetchannels', ...channels);

beforeAll(async () => {
  await allow();
  const url = new URL(redis.url);
  [url.username, url.password] = [USER, 'secret'];
  database = await createTestDatabase();
  const environment = serviceEnvironment(
    database.url,
    { ...redis, url: url.href },
    // A heartbeat that comes late, so that a cancel which is quick has come by its channel.
    { MAX_CONCURRENT_TASKS: '20', LEASE: '30s' },
  );
  service = await startService(environment);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
  await admin.call('ACL', 'DELUSER', USER);
  await admin.quit();
});

const clients = async () =>
  String(await admin.call('CLIENT', 'LIST'))
    .split('\n')
    .filter((line) => line.includes(`user=${USER}`));
const listening = async () =>
  ((await admin.pubsub('NUMSUB', `${redis.prefix}:cancel`)) as [string, number])[1];

/** A job that runs until it is canceled, and the state of its cancel some seconds before a heartbeat. */
async function cancelOfRunning(): Promise<string> {
  const { jobId } = await alice.submit({ type: 'demo.wait', payload: { durationMs: 60_000 } });
  await alice.until(jobId, ['active']);
  await alice.send('POST', `/jobs/${jobId}/cancel`);
  await eventually(
    async () => expect((await alice.get(`/jobs/${jobId}`)).body.cancelReceipt.state).toBe('stopped'),
    { timeout: 5_000 },
  );
  return jobId;
}

test('C11 channels that are forbidden cost no connections, and cancels are heard again when they are allowed', async () => {
  await eventually(() => expect(service.log.join('\n')).toContain('not subscribed'));
  const before = (await clients()).length;
  const { jobId } = await alice.submit({ numTask: 1 });
  await alice.until(jobId, ['completed']);
  expect(await listening()).toBe(0);
  // The connection of who listens is lost meanwhile, and comes back to a refusal.
  const line = (await clients()).find((text) => text.includes('longhaul-subscriber'));
  const id = /^id=(\d+) /.exec(line ?? '')?.[1];
  await admin.call('CLIENT', 'KILL', 'ID', id ?? '');
  await eventually(async () => expect((await clients()).length).toBe(before));
  await allow('&*');
  await eventually(async () => expect(await listening()).toBe(1));
  expect((await clients()).length).toBe(before);
  await cancelOfRunning();
  // And after another loss.
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await eventually(async () => expect(await listening()).toBe(1));
  await cancelOfRunning();
}, 30_000);

test('C11 thousands of short tasks leave no listener behind', async () => {
  const { jobId } = await alice.submit({ type: 'demo.wait', numTask: 3000, payload: { durationMs: 1 } });
  await alice.until(jobId, ['completed'], { timeout: 25_000 });
  expect(service.log.join('\n')).not.toMatch(/MaxListeners|memory leak|listener leak/i);
}, 30_000);
