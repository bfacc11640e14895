import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { listen } from '../../support/live-client.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

const USER = `api_${randomUUID().slice(0, 8)}`;
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
  const environment = serviceEnvironment(database.url, { ...redis, url: url.href }, { SERVICE_TYPE: 'api' });
  service = await startService(environment);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
  await admin.call('ACL', 'DELUSER', USER);
  await admin.quit();
});

const connections = async () =>
  String(await admin.call('CLIENT', 'LIST'))
    .split('\n')
    .filter((line) => line.includes(`user=${USER}`)).length;

/** Who listens to the hints of the feed. */
const listeners = async () => ((await admin.pubsub('NUMSUB', `${redis.prefix}:live`)) as [string, number])[1];

const later = { type: 'demo.wait', payload: { durationMs: 1 }, runAt: '2090-01-01T00:00:00Z' };

test('C11 a channel that is forbidden loses no connection and no event, and is heard again when it is allowed', async () => {
  const client = await listen({ url: service.url, key: alice.key });
  const before = await connections();
  const first = await alice.submit(later);
  await client.status(first.jobId, 'scheduled');
  for (let times = 0; times < 3; times++) {
    const one = await listen({ url: service.url, key: alice.key });
    await one.close();
  }
  expect(await connections()).toBe(before);
  await allow('&*');
  await eventually(async () => expect(await listeners()).toBe(1));
  expect(await connections()).toBe(before);
  const second = await alice.submit(later);
  await client.status(second.jobId, 'scheduled');
  expect(client.of('job-update', second.jobId)).toHaveLength(1);
  expect(service.log.join('\n')).not.toMatch(/MaxListeners|listener leak/i);
  await client.close();
});
