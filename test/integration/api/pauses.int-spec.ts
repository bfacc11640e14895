import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
let [alice, bob, admin]: ApiUser[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(serviceEnvironment(database.url, testRedis()));
  [alice, bob, admin] = await Promise.all([
    apiUser(service, 'alice'),
    apiUser(service, 'bob'),
    apiUser(service, 'root', ['admin']),
  ]);
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

describe('a pause over HTTP', () => {
  test('holds what is submitted, says so, and lets it run when it is ended', async () => {
    const until = '2100-01-01T00:00:00.000Z';
    const paused = await admin!.send('PUT', '/pauses/types/demo.wait', { reason: 'A move.', until });
    expect([paused.status, paused.body]).toEqual([
      200,
      {
        kind: 'type',
        name: 'demo.wait',
        actor: expect.stringMatching(/^key:/),
        reason: 'A move.',
        since: expect.stringMatching(/Z$/),
        until,
      },
    ]);
    const { jobId } = await alice!.submit({ type: 'demo.wait', payload: { durationMs: 0 } });
    const told = await alice!.get(`/jobs/${jobId}/explain`);
    expect([told.status, told.body]).toEqual([
      200,
      {
        jobId,
        reasons: [
          {
            code: 'paused-type',
            message: 'The job type "demo.wait" is paused until it is resumed. Reason: A move.',
            until,
          },
          { code: expect.stringMatching(/^(turn|slot)$/), message: expect.any(String) },
        ],
        estimatedStart: until,
      },
    ]);
    expect((await bob!.get('/pauses')).body).toEqual({ pauses: [paused.body] });
    expect((await admin!.send('DELETE', '/pauses/types/demo.wait')).body).toEqual({ pauses: [] });
    await alice!.until(jobId, ['completed']);
    expect((await alice!.get(`/jobs/${jobId}/explain`)).body).toEqual({
      jobId,
      reasons: [],
      estimatedStart: null,
    });
  });

  test('takes no body, and changes its reason when it is repeated', async () => {
    expect((await admin!.send('PUT', '/pauses/tags/default')).body).toMatchObject({
      reason: null,
      until: null,
    });
    const { body } = await admin!.send('PUT', '/pauses/tags/default', { reason: 'Now I know.' });
    expect(body).toMatchObject({ kind: 'tag', name: 'default', reason: 'Now I know.' });
    expect((await admin!.send('DELETE', '/pauses/tags/default')).status).toBe(200);
  });

  test.each([
    ['PUT', '/pauses/types/no.such', undefined, 404],
    ['PUT', '/pauses/tags/no-such', undefined, 404],
    ['DELETE', '/pauses/types/demo.wait', undefined, 404],
    // What cannot stand in the database was never paused.
    ['DELETE', '/pauses/types/%00', undefined, 404],
    ['PUT', '/pauses/types/demo.wait', { until: '2001-01-01T00:00:00Z' }, 400],
    ['PUT', '/pauses/types/demo.wait', { until: 'tomorrow' }, 400],
    ['PUT', '/pauses/types/demo.wait', { reason: '' }, 400],
    ['PUT', '/pauses/types/demo.wait', { because: 'x' }, 400],
    ['PUT', '/pauses/types/demo.wait?x=1', {}, 400],
  ])('%s %s with %j is refused, and pauses nothing', async (method, path, body, status) => {
    const answer = await admin!.send(method, path, body);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      status,
      expect.stringContaining('application/problem+json'),
    ]);
    expect((await admin!.get('/pauses')).body).toEqual({ pauses: [] });
  });

  test('is for administrators', async () => {
    for (const method of ['PUT', 'DELETE'])
      expect((await alice!.send(method, '/pauses/types/demo.wait')).status).toBe(403);
  });
});

describe('an explanation', () => {
  test('of a job of somebody else is that of one that is not there', async () => {
    const { jobId } = await alice!.submit({ type: 'demo.wait', payload: { durationMs: 0 } });
    const theirs = await bob!.get(`/jobs/${jobId}/explain`);
    const none = await bob!.get('/jobs/01a22984-8ec9-708f-813c-3587f4b08623/explain');
    expect([theirs.status, theirs.body]).toEqual([404, none.body]);
  });
});

describe('a priority', () => {
  test.each([101, -101, 1.5, '1', null])('of %j is refused', async (priority) => {
    const { status, body } = await alice!.send('POST', '/jobs', { numTask: 1, priority });
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, '/priority']);
  });

  test('is shown with the job', async () => {
    const { jobId } = await alice!.submit({ numTask: 1, payload: { durationMs: 0 }, priority: -7 });
    expect((await alice!.get(`/jobs/${jobId}`)).body.priority).toBe(-7);
  });
});
