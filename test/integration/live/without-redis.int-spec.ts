import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { listen } from '../../support/live-client.js';
import { RestrictedRedis } from '../../support/restricted-redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let restricted: RestrictedRedis;
let database: TestDatabase;
let service: TestService;
let alice: ApiUser;

beforeAll(async () => {
  restricted = await RestrictedRedis.open();
  database = await createTestDatabase();
  const environment = serviceEnvironment(database.url, restricted.redis, { SERVICE_TYPE: 'api' });
  service = await startService(environment);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
  await restricted?.close();
});

const later = { type: 'demo.wait', payload: { durationMs: 1 }, runAt: '2090-01-01T00:00:00Z' };

test('C11 a channel that is forbidden loses no connection and no event, and is heard again when it is allowed', async () => {
  const client = await listen({ url: service.url, key: alice.key });
  const first = await alice.submit(later);
  await client.status(first.jobId, 'scheduled');
  const before = (await restricted.connections()).length;
  for (let times = 0; times < 3; times++) {
    const one = await listen({ url: service.url, key: alice.key });
    await one.close();
  }
  await eventually(async () => expect((await restricted.connections()).length).toBe(before));
  await restricted.allow('&*');
  await eventually(async () => expect(await restricted.listeners('live')).toBe(1));
  await eventually(async () => expect((await restricted.connections()).length).toBe(before));
  const second = await alice.submit(later);
  await client.status(second.jobId, 'scheduled');
  expect(client.of('job-update', second.jobId)).toHaveLength(1);
  expect(service.log.join('\n')).not.toMatch(/MaxListeners|listener leak/i);
  await client.close();
}, 60_000);
