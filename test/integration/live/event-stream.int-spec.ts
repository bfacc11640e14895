import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { EventSource } from 'eventsource';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

jest.setTimeout(60_000);
const PATIENCE = { timeout: 40_000 };

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let bob: ApiUser;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(
    serviceEnvironment(database.url, testRedis(), {
      LIVE_HEARTBEAT: '200ms',
      CORS_ORIGINS: 'https://app.test',
    }),
  );
  [alice, bob] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'bob')]);
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

interface Told {
  event: string;
  id: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into what is theirs to judge
  data: any;
}

/** Listens as a browser would; `after` is the Last-Event-ID that it begins with. */
function source(
  user: ApiUser,
  path: string,
  after?: string,
): { told: Told[]; source: EventSource; opens: () => number } {
  const told: Told[] = [];
  let first = true;
  let opens = 0;
  const events = new EventSource(`${user.url}${path}`, {
    fetch: (url, init) => {
      const headers: Record<string, string> = { ...init.headers, authorization: `Bearer ${user.key}` };
      if (first && after !== undefined) headers['Last-Event-ID'] = after;
      first = false;
      return fetch(url, { ...init, headers });
    },
  });
  events.addEventListener('open', () => opens++);
  for (const name of ['job-update', 'task-update', 'subscribed', 'snapshot', 'error'])
    events.addEventListener(name, ({ data, lastEventId }) => {
      if (data !== undefined) told.push({ event: name, id: lastEventId, data: JSON.parse(data) });
    });
  return { told, source: events, opens: () => opens };
}

const work = (durationMs: number, more: object = {}) => ({
  type: 'demo.wait',
  payload: { durationMs, steps: 4 },
  ...more,
});

/** Without ids: each that is told has a cursor of its own behind the same event. */
const bare = (told: Told[]) => told.map(({ event, data }) => ({ event, data }));
/** The states of a job as it was told them, without what is only progress: there is more of it on a slow machine. */
const statuses = (told: Told[], jobId: string) =>
  told
    .filter(({ event, data }) => event === 'job-update' && data.jobId === jobId)
    .filter(({ data }) => data.status !== 'active' || data.progress === 0)
    .map(({ data }) => data.status);

test('the stream of a job tells it from its first event to its last, and then is over for good', async () => {
  const { jobId } = await alice.submit(work(600, { numTask: 2 }));
  const { told, source: events, opens } = source(alice, `/jobs/${jobId}/events`);
  // What ends is opened again after a pause, and then told that there is no more.
  await eventually(() => expect(events.readyState).toBe(EventSource.CLOSED), PATIENCE);
  expect(opens()).toBe(1);
  expect(statuses(told, jobId).slice(0, 2)).toEqual(['queued', 'active']);
  expect(statuses(told, jobId).at(-1)).toBe('completed');
  expect(statuses(told, jobId).filter((status) => status === 'completed')).toHaveLength(1);
  expect(told.filter(({ event }) => event === 'task-update')).toHaveLength(4);
  expect(told.at(-1)).toMatchObject({ event: 'job-update', data: { status: 'completed', progress: 100 } });
  // Progress has no id of its own: it keeps that of the event before.
  const withId = told.filter(({ data }) => data.status !== 'active' || data.taskId || data.progress === 0);
  expect(new Set(withId.map(({ id }) => id)).size).toBe(withId.length);
});

test('a Last-Event-ID goes on behind any event of a job that is over, once and in order', async () => {
  const { jobId } = await alice.submit(work(10, { numTask: 3 }));
  await alice.until(jobId);
  const whole = source(alice, `/jobs/${jobId}/events`);
  await eventually(() => expect(statuses(whole.told, jobId)).toContain('completed'));
  whole.source.close();
  for (let at = 0; at < whole.told.length - 1; at++) {
    const rest = source(alice, `/jobs/${jobId}/events`, whole.told[at]?.id);
    await eventually(() => expect(rest.told).toHaveLength(whole.told.length - at - 1));
    rest.source.close();
    expect(bare(rest.told)).toEqual(bare(whole.told.slice(at + 1)));
  }
});

test('the ledger stays JSON for who does not ask for events, and a job of others is not there', async () => {
  const { jobId } = await alice.submit(work(10));
  await alice.until(jobId);
  const json = await alice.get(`/jobs/${jobId}/events`);
  expect(json.body.events[0]).toMatchObject({ kind: 'job.queued' });
  const stream = { accept: 'text/event-stream' };
  const foreign = await bob.send('GET', `/jobs/${jobId}/events`, undefined, stream);
  const random = await bob.send(
    'GET',
    '/jobs/019a0000-0000-7000-8000-000000000000/events',
    undefined,
    stream,
  );
  expect(foreign).toMatchObject({ status: 404, body: random.body });
});

test('GET /events tells of all jobs of the caller, goes on after an id, and gives ids to who hears nothing', async () => {
  const first = source(alice, '/events?type=demo.wait');
  await eventually(() => expect(first.told[0]?.event).toBe('subscribed'));
  const one = await alice.submit(work(10));
  await eventually(() => expect(statuses(first.told, one.jobId)).toContain('completed'));
  first.source.close();
  const after = first.told.findLast(({ data }) => data.status === 'queued')?.id;
  const two = await alice.submit(work(10));
  await bob.submit(work(10));
  await alice.until(two.jobId);
  const second = source(alice, '/events', after);
  await eventually(() => expect(statuses(second.told, two.jobId)).toContain('completed'));
  second.source.close();
  expect(statuses(second.told, one.jobId)).toEqual(['active', 'completed']);
  expect(statuses(second.told, two.jobId)).toEqual(['queued', 'active', 'completed']);
  expect(new Set(second.told.map(({ data }) => data.jobId ?? one.jobId))).toEqual(
    new Set([one.jobId, two.jobId]),
  );

  const abort = new AbortController();
  const headers = { authorization: `Bearer ${alice.key}`, accept: 'text/event-stream' };
  const answer = await fetch(`${alice.url}/events`, { headers, signal: abort.signal });
  expect(answer.headers.get('content-type')).toBe('text/event-stream');
  let text = '';
  for await (const chunk of answer.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (/: alive\nid: \S+\n\n/.test(text)) break;
  }
  expect(text).toMatch(/^retry: \d+\n\n/);
  abort.abort();
});

test('a ticket lets an EventSource of a page in, once', async () => {
  const issued = await alice.send('POST', '/ws-tickets');
  expect(issued.status).toBe(201);
  expect(Date.parse(issued.body.expiresAt) - Date.now()).toBeLessThanOrEqual(30_000);
  const told: unknown[] = [];
  const events = new EventSource(`${alice.url}/events?ticket=${issued.body.ticket}`);
  events.addEventListener('subscribed', () => told.push('subscribed'));
  await eventually(() => expect(told).toEqual(['subscribed']));
  events.close();
  const again = await fetch(`${alice.url}/events?ticket=${issued.body.ticket}`);
  expect(again.status).toBe(401);
  // On any other route a ticket is nothing.
  const fresh = await alice.send('POST', '/ws-tickets');
  expect((await fetch(`${alice.url}/jobs?ticket=${fresh.body.ticket}`)).status).toBe(401);
  expect(service.log.join('\n')).not.toContain(issued.body.ticket);
});

const ask = async (path: string, headers: Record<string, string>) =>
  (await alice.send('GET', path, undefined, headers)).status;

test('what cannot be is refused as ever', async () => {
  expect(await ask('/events', { accept: 'application/json' })).toBe(406);
  expect(await ask('/events?nothing=1', { accept: 'text/event-stream' })).toBe(400);
  expect(await ask('/events?jobId=x', { accept: 'text/event-stream' })).toBe(400);
  expect(await ask('/jobs', { accept: 'text/event-stream' })).toBe(406);
});
