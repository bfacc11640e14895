import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { listen, type LiveClient, type LiveText } from '../../support/live-client.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
let other: TestService;
let alice: ApiUser;
let bob: ApiUser;
const clients: LiveClient[] = [];
const HOUR = 3_600_000;
jest.setTimeout(60_000);

beforeAll(async () => {
  database = await createTestDatabase();
  const redis = testRedis();
  [service, other] = await Promise.all([
    startService(serviceEnvironment(database.url, redis)),
    startService(serviceEnvironment(database.url, redis, { SERVICE_TYPE: 'api' })),
  ]);
  [alice, bob] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'bob')]);
}, 60_000);
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});
afterAll(async () => {
  await Promise.all([service?.stop(), other?.stop()]);
  await database?.drop();
});

async function connect(user: ApiUser, path = '/', at = service): Promise<LiveClient> {
  const client = await listen({ url: at.url, key: user.key }, path);
  clients.push(client);
  return client;
}

const work = (durationMs: number, more: object = {}) => ({
  type: 'demo.wait',
  payload: { durationMs, steps: 4 },
  ...more,
});

test('feature 10: a client hears of its job in order, every task, progress that never goes back, one end, last', async () => {
  const client = await connect(alice);
  const { jobId } = await alice.submit(work(1200, { numTask: 3 }));
  await client.status(jobId, 'completed');
  const updates = client.of('job-update', jobId);
  expect(updates[0]).toEqual({
    jobId,
    type: 'demo.wait',
    status: 'queued',
    progress: 0,
    version: 1,
    at: expect.any(String),
  });
  const statuses = updates.map(({ status }) => status);
  expect(statuses.indexOf('queued')).toBeLessThan(statuses.indexOf('active'));
  expect(statuses.filter((status) => status === 'completed')).toHaveLength(1);
  const versions = updates.map(({ version }) => version);
  expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
  const progress = updates.map((update) => update.progress);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  expect(progress.at(-1)).toBe(100);
  expect(progress.some((value) => value > 0 && value < 100)).toBe(true);
  const ofJob = client.told.filter(({ data }) => data.jobId === jobId);
  expect(ofJob.at(-1)).toMatchObject({ event: 'job-update', data: { status: 'completed' } });
  const tasks = client.of('task-update', jobId);
  const { body } = await alice.get(`/jobs/${jobId}/tasks`);
  for (const { taskId } of body.tasks) {
    const own = tasks.filter((task) => task.taskId === taskId);
    expect(own.map(({ status }) => status)).toEqual(['active', 'completed']);
    expect(own[0]).toEqual({
      jobId,
      taskId,
      status: 'active',
      attempt: 1,
      at: expect.any(String),
    });
  }
});

test('feature 10: the end of a canceled job comes after those of its tasks', async () => {
  const client = await connect(alice);
  const { jobId } = await alice.submit(work(HOUR, { numTask: 6 }));
  await client.heard(({ event, data }) => event === 'task-update' && data.jobId === jobId);
  await alice.send('POST', `/jobs/${jobId}/cancel`);
  await client.status(jobId, 'canceled');
  const ofJob = client.told.filter(({ data }) => data.jobId === jobId);
  expect(client.of('task-update', jobId).filter(({ status }) => status === 'canceled')).toHaveLength(6);
  expect(ofJob.at(-1)).toMatchObject({ event: 'job-update', data: { status: 'canceled' } });
});

test('C52 nobody hears of the jobs of others, whatever they ask for', async () => {
  const mine = await connect(alice);
  const all = await connect(bob);
  const { jobId } = await alice.submit(work(100));
  const named = await connect(bob, `/?jobId=${jobId}`);
  all.say('subscribe', { jobIds: [jobId] });
  const random = '019a0000-0000-7000-8000-000000000000';
  const refused = await all.heard(({ event }) => event === 'error');
  all.told.length = 0;
  all.say('subscribe', { jobIds: [random] });
  expect(await all.heard(({ event }) => event === 'error')).toEqual(refused);
  expect(refused.data).toMatchObject({ type: 'urn:longhaul:problem:not-found', status: 404 });
  await named.heard(({ event }) => event === 'error');
  await mine.status(jobId, 'completed');
  const own = await bob.submit(work(100));
  all.say('subscribe', {});
  await all.status(own.jobId, 'completed');
  for (const client of [all, named])
    expect(JSON.stringify([client.of('job-update'), client.of('task-update')])).not.toContain(jobId);
});

test('who subscribes to a job that is over gets its final state at once, and first', async () => {
  const { jobId } = await alice.submit(work(50));
  await alice.until(jobId);
  const client = await connect(alice, `/?jobId=${jobId}`, other);
  const present = { jobId, type: 'demo.wait', status: 'completed', progress: 100, present: true };
  expect(client.told[0]).toMatchObject({ event: 'job-update', data: present });
  const later = await connect(alice, '/?type=nothing.such');
  later.told.length = 0;
  later.say('subscribe', { jobIds: [jobId.toUpperCase()] });
  await later.heard(({ event }) => event === 'subscribed');
  expect(later.told.map(({ event }) => event)).toEqual(['job-update', 'subscribed']);
  expect(later.told[0]).toMatchObject({ data: present });
});

test('a filter lets through the events of its jobs and types, and nothing else', async () => {
  const one = await alice.submit(work(300));
  const client = await connect(alice, `/?jobId=${one.jobId}`);
  const another = await alice.submit(work(10));
  await client.status(one.jobId, 'completed');
  await alice.until(another.jobId);
  expect(client.told.filter(({ data }) => data.jobId === another.jobId)).toEqual([]);
  const typed = await connect(alice, '/?type=demo.wait');
  const third = await alice.submit(work(10));
  await typed.status(third.jobId, 'completed');
});

test('C70 who was away while the job ended is told of the end by another pod, and of each event once', async () => {
  const whole = await connect(alice);
  let client = await connect(alice);
  // Half of it is done soon, and the other half is ended when nobody hears it.
  const tasks = [0, 0, HOUR, HOUR].map((durationMs) => ({ payload: { durationMs } }));
  const { jobId } = await alice.submit({ type: 'demo.wait', tasks });
  await client.heard(
    ({ event, data }) => event === 'job-update' && data.jobId === jobId && data.progress >= 50,
  );
  const heard: LiveText[] = [...client.told];
  const after = client.lastId;
  await client.close();
  await alice.send('POST', `/jobs/${jobId}/cancel`);
  await whole.status(jobId, 'canceled');
  client = await connect(alice, `/?after=${encodeURIComponent(after)}`, other);
  await client.status(jobId, 'canceled');
  heard.push(...client.told);
  const transitions = (told: LiveText[]) =>
    told
      .filter(
        ({ event, data }) => data.jobId === jobId && (event === 'task-update' || data.status !== 'active'),
      )
      .map(({ data: { taskId, status, version } }) => ({ taskId, status, version }));
  expect(transitions(heard)).toEqual(transitions(whole.told));
  const versions = heard
    .filter(({ event, data }) => event === 'job-update' && data.jobId === jobId)
    .map(({ data }) => data.version);
  expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
});

test('who comes back with an id that is none is told what there is', async () => {
  const { jobId } = await alice.submit(work(HOUR));
  const client = await connect(alice, '/?after=nonsense');
  const snapshot = client.told[0];
  expect(snapshot).toMatchObject({ event: 'snapshot', data: { reason: 'unknown-cursor', complete: true } });
  expect(snapshot?.data.jobs).toContainEqual(expect.objectContaining({ jobId, present: true }));
  await alice.send('POST', `/jobs/${jobId}/cancel`);
  await client.status(jobId, 'canceled');
});

// The last: it ends one of the services.
test('a process stops in time with open connections, and says so to each', async () => {
  const client = await listen({ url: other.url, key: alice.key });
  const headers = { authorization: `Bearer ${alice.key}`, accept: 'text/event-stream' };
  const stream = await fetch(`${other.url}/events`, { headers });
  expect(await other.stop()).toBe(0);
  expect((await client.closed).code).toBe(1001);
  expect(await stream.text()).toMatch(/^retry: /);
});
