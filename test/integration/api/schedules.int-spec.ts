import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@app/platform/prisma/open-client.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const job = { type: 'demo.wait', payload: { durationMs: 0 } };
let database: TestDatabase;
let service: TestService;
let [alice, bob, admin, reader]: ApiUser[] = [];
const errorsOf = (body: { errors?: { pointer: string }[] }) => body.errors?.map(({ pointer }) => pointer);

const preview = async (body: object) => (await reader!.send('POST', '/schedules/preview', body)).body;

beforeAll(async () => {
  database = await createTestDatabase();
  const limits = { SCHEDULE_MIN_INTERVAL: '5s', MAX_SCHEDULES: '8' };
  service = await startService(serviceEnvironment(database.url, testRedis(), limits));
  [alice, bob, admin, reader] = await Promise.all([
    apiUser(service, 'alice', ['jobs:read', 'jobs:write', 'schedules:write']),
    apiUser(service, 'bob', ['jobs:read', 'schedules:write']),
    apiUser(service, 'root', ['admin']),
    apiUser(service, 'alice', ['jobs:read', 'jobs:write']),
  ]);
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

describe('schedules over HTTP', () => {
  test('feature 23: one is made, shown, changed, paused, resumed, triggered and deleted', async () => {
    const body = { name: 'nightly', cron: '0 0 * * *', timezone: 'Africa/Cairo', job, overlap: 'skip' };
    const made = await alice!.send('POST', '/schedules', body);
    expect([made.status, made.body]).toEqual([
      201,
      {
        scheduleId: expect.any(String),
        name: 'nightly',
        status: 'active',
        cron: '0 0 * * *',
        every: null,
        timezone: 'Africa/Cairo',
        job,
        startAt: null,
        endAt: null,
        maxRuns: null,
        runs: 0,
        jitter: null,
        misfire: 'latest',
        maxCatchUp: 10,
        catchUpWindow: '1d',
        overlap: 'skip',
        checkinMargin: null,
        maxRuntime: null,
        declared: false,
        pause: null,
        queuedSlot: null,
        next: expect.arrayContaining([expect.stringMatching(/T2[12]:00:00\.000Z$/)]),
        version: 1,
        createdAt: expect.any(String),
        updatedAt: expect.any(String),
      },
    ]);
    expect(made.body.next).toHaveLength(5);
    const path = `/schedules/${made.body.scheduleId}`;
    expect(made.headers.get('location')).toBe(path);
    expect((await reader!.get(path)).body).toEqual(made.body);
    expect((await reader!.send('POST', `${path}/trigger`)).status).toBe(403);
    const changed = await alice!.send('PATCH', path, { every: '1h', checkinMargin: '5m', overlap: null });
    expect(changed.body).toMatchObject({
      cron: null,
      every: '1h',
      checkinMargin: '5m',
      overlap: 'allow',
      version: 2,
    });
    const until = '2100-01-01T00:00:00.000Z';
    const paused = await alice!.send('POST', `${path}/pause`, { reason: 'A move.', until });
    expect(paused.body).toMatchObject({
      status: 'paused',
      pause: { actor: expect.stringMatching(/^key:/), reason: 'A move.', until },
    });
    const triggered = await alice!.send('POST', `${path}/trigger`);
    expect(triggered.status).toBe(201);
    expect(triggered.headers.get('location')).toBe(`/jobs/${triggered.body.jobId}`);
    const done = await alice!.until(triggered.body.jobId, ['completed']);
    expect(done).toMatchObject({ scheduleId: made.body.scheduleId, slot: expect.any(String) });
    expect((await alice!.send('POST', `${path}/resume`)).body).toMatchObject({
      status: 'active',
      pause: null,
    });
    const slots = await alice!.get(`${path}/slots`);
    expect(slots.body).toEqual({
      slots: [
        {
          slot: done.slot,
          until: null,
          count: 1,
          outcome: 'fired',
          triggeredBy: expect.stringMatching(/^key:/),
          jobId: done.jobId,
          jobStatus: 'completed',
          blockedBy: null,
          note: null,
          decidedAt: expect.any(String),
        },
      ],
      nextCursor: null,
    });
    expect((await alice!.send('DELETE', path)).status).toBe(200);
    for (const gone of [
      await alice!.get(path),
      await alice!.get(`${path}/slots`),
      await alice!.send('DELETE', path),
    ]) {
      expect([gone.status, gone.body.type]).toEqual([404, 'urn:longhaul:problem:not-found']);
    }
  });

  test('lists are paged, and the ledger is filtered', async () => {
    const made = [];
    for (const name of ['a', 'b', 'c'])
      made.push((await bob!.send('POST', '/schedules', { name, every: '1h', job })).body);
    const first = (await bob!.get('/schedules?limit=2')).body;
    expect(first.schedules.map(({ name }: { name: string }) => name)).toEqual(['c', 'b']);
    const rest = (await bob!.get(`/schedules?limit=2&cursor=${first.nextCursor}`)).body;
    expect([rest.schedules.map(({ name }: { name: string }) => name), rest.nextCursor]).toEqual([
      ['a'],
      null,
    ]);
    const path = `/schedules/${made[0].scheduleId}`;
    for (let nth = 0; nth < 3; nth++) await bob!.send('POST', `${path}/trigger`);
    const slots = (await bob!.get(`${path}/slots?limit=2&outcome=fired,late`)).body;
    expect(slots.slots).toHaveLength(2);
    const more = `${path}/slots?limit=2&outcome=fired,late&cursor=${slots.nextCursor}`;
    expect((await bob!.get(more)).body).toMatchObject({ slots: [{ outcome: 'fired' }], nextCursor: null });
    expect((await bob!.get(`${path}/slots?outcome=missed`)).body.slots).toEqual([]);
    expect((await bob!.get(`${path}/slots?to=2020-01-01T00:00:00Z`)).body.slots).toEqual([]);
    expect(errorsOf((await bob!.get(`${path}/slots?outcome=lost`)).body)).toEqual(['/outcome/0']);
    expect(errorsOf((await bob!.get(`${path}/slots?limit=0&x=1`)).body)).toEqual(['/limit', '/x']);
  });

  test('feature 3: the schedule of somebody else is a 404 that equals that of a random id', async () => {
    const mine = (await alice!.send('POST', '/schedules', { name: 'mine', every: '1h', job })).body
      .scheduleId;
    const asked = (id: string) =>
      Promise.all(
        [
          ['GET', `/schedules/${id}`],
          ['GET', `/schedules/${id}/slots`],
          ['PATCH', `/schedules/${id}`, { name: 'yours' }],
          ['POST', `/schedules/${id}/pause`, {}],
          ['POST', `/schedules/${id}/resume`],
          ['POST', `/schedules/${id}/trigger`],
          ['DELETE', `/schedules/${id}`],
        ].map(async ([method, path, body]) => {
          const answer = await bob!.send(method as string, path as string, body);
          return [answer.status, answer.body];
        }),
      );
    const [theirs, random, odd] = [await asked(mine), await asked(NOWHERE), await asked('nothing')];
    expect(theirs.map(([status]) => status)).toEqual(theirs.map(() => 404));
    expect(theirs).toEqual(random);
    expect(odd).toEqual(random);
    expect(
      (await bob!.get('/schedules')).body.schedules.map(({ name }: { name: string }) => name),
    ).not.toContain('mine');
    expect((await alice!.get(`/schedules/${mine}`)).body).toMatchObject({ status: 'active', version: 1 });
    // An administrator acts for its owner.
    expect((await admin!.send('POST', `/schedules/${mine}/pause`, { reason: 'ops' })).body.status).toBe(
      'paused',
    );
    await alice!.send('DELETE', `/schedules/${mine}`);
  });

  test('of a schedule whose zone is gone with the time zone data it is said so, and it can be given another', async () => {
    const { body } = await alice!.send('POST', '/schedules', { name: 'gone', cron: '0 0 * * *', job });
    const path = `/schedules/${body.scheduleId}`;
    await alice!.send('POST', `${path}/pause`, {});
    await withClient(
      database.url,
      (client) => client.$executeRaw`
      UPDATE schedules SET timezone = 'Mars/Base' WHERE id = ${body.scheduleId}::uuid`,
    );
    for (const verb of ['resume', 'trigger']) {
      const answer = await alice!.send('POST', `${path}/${verb}`);
      expect([answer.status, errorsOf(answer.body)]).toEqual([400, ['/cron']]);
    }
    const renamed = await alice!.send('PATCH', path, { name: 'renamed' });
    expect([renamed.status, errorsOf(renamed.body)]).toEqual([400, ['/timezone']]);
    expect((await alice!.send('PATCH', path, { timezone: 'Asia/Tokyo' })).status).toBe(200);
    expect((await alice!.send('POST', `${path}/resume`)).body).toMatchObject({ status: 'active' });
    expect((await alice!.send('DELETE', path)).status).toBe(200);
  });

  test('a name is taken once, and an owner has so many schedules', async () => {
    const one = await alice!.send('POST', '/schedules', { name: 'one', every: '1h', job });
    const again = await alice!.send('POST', '/schedules', { name: 'one', every: '2h', job });
    expect([again.status, again.body.type]).toEqual([409, 'urn:longhaul:problem:duplicate-schedule']);
    await alice!.send('POST', '/schedules', { name: 'two', every: '1h', job });
    const renamed = await alice!.send('PATCH', `/schedules/${one.body.scheduleId}`, { name: 'two' });
    expect([renamed.status, renamed.body.type]).toEqual([409, 'urn:longhaul:problem:duplicate-schedule']);
    // Another owner has names of their own.
    const theirs = await bob!.send('POST', '/schedules', { name: 'one', every: '1h', job });
    expect(theirs.status).toBe(201);
    const many = [];
    for (let nth = 0; nth < 8; nth++)
      many.push(await alice!.send('POST', '/schedules', { name: `many ${nth}`, every: '1h', job }));
    expect(many.map(({ status }) => status)).toEqual([...Array(6).fill(201), 429, 429]);
    expect(many.at(-1)?.body).toMatchObject({ detail: 'An owner has at most 8 schedules.' });
    expect(many.at(-1)?.headers.get('retry-after')).toBeNull();
    for (const { body } of many.slice(0, 6)) await alice!.send('DELETE', `/schedules/${body.scheduleId}`);
  });

  test('the next instants are shown without a schedule', async () => {
    const daily = await preview({ cron: '0 12 * * *', timezone: 'Asia/Tokyo' });
    expect(daily.next).toHaveLength(5);
    expect(daily.next[0]).toMatch(/T03:00:00\.000Z$/);
    expect((await preview({ every: '1h', maxRuns: 2, name: 'x', job })).next).toHaveLength(2);
    expect(errorsOf(await preview({}))).toEqual(['/cron']);
  });
});

describe('C34, security inputs 71 and 72: what can never be is refused at once, and nothing is made', () => {
  test.each([
    [{ cron: '0 0 31 4 *' }, ['/cron']],
    [{ cron: '0 0 30 2 *' }, ['/cron']],
    [{ cron: '0 0 31 2 *' }, ['/cron']],
    [{ cron: '61 * * * *' }, ['/cron']],
    [{ cron: '99 * * * *' }, ['/cron']],
    [{ cron: '* * * *' }, ['/cron']],
    [{ cron: '' }, ['/cron']],
    [{ cron: '@every 1ms' }, ['/cron']],
    [{ cron: '* '.repeat(2500) }, ['/cron']],
    [{ cron: '* * * * * *' }, ['/cron']],
    [{ every: '1s' }, ['/every']],
    [{ every: '1ms' }, ['/every']],
    [{ every: 'soon' }, ['/every']],
    [{ every: '9999d' }, ['/every']],
    [{ cron: '0 0 * * *', timezone: 'Mars/Base' }, ['/timezone']],
    [{ cron: '0 0 * * *', timezone: 'Mars/Olympus' }, ['/timezone']],
    [{ cron: '0 0 * * *', timezone: '../../etc' }, ['/timezone']],
    [{ cron: '0 0 * * *', timezone: 'x'.repeat(5000) }, ['/timezone']],
    [{ cron: '0 0 * * *', every: '1h' }, ['/every']],
    [{}, ['/cron']],
    [{ every: '1h', startAt: '2099-01-02T00:00:00Z', endAt: '2099-01-01T00:00:00Z' }, ['/endAt']],
    [{ every: '1h', endAt: '2020-01-01T00:00:00Z' }, ['/endAt']],
    [{ every: '1h', maxRuns: 0 }, ['/maxRuns']],
    [{ every: '1h', jitter: '1h' }, ['/jitter']],
    [{ every: '1h', overlap: 'maybe' }, ['/overlap']],
    [{ every: '1h', misfire: 'maybe' }, ['/misfire']],
    [{ every: '1h', name: 'a\nb' }, ['/name']],
    [{ every: '1h', job: { type: 'no.such' } }, ['/job/type']],
    [{ every: '1h', job: { type: 'demo.wait', payload: { durationMs: 'x' } } }, ['/job/payload/durationMs']],
    [{ every: '1h', job: { type: 'demo.wait', runAt: '2099-01-01T00:00:00Z' } }, ['/job/runAt']],
    [{ every: '1h', job: {} }, ['/job/type']],
    [{ every: '1h', surprise: 1 }, ['/surprise']],
  ])('%#: %j', async (more, pointers) => {
    const began = performance.now();
    const answer = await bob!.send('POST', '/schedules', { name: 'bad', job, ...more });
    expect([answer.status, answer.body.type, errorsOf(answer.body)]).toEqual([
      400,
      'urn:longhaul:problem:validation-error',
      pointers,
    ]);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(
      (await bob!.get('/schedules')).body.schedules.map(({ name }: { name: string }) => name),
    ).not.toContain('bad');
  });

  test('the 29th of February is accepted', async () => {
    const made = await bob!.send('POST', '/schedules', { name: 'leap', cron: '0 0 29 2 *', job });
    expect(made.status).toBe(201);
    expect(made.body.next[0]).toMatch(/-02-29T00:00:00\.000Z$/);
  });

  test('slots that may come often enough come, and a change cannot make them come too often', async () => {
    // The first one is not waited for.
    const startAt = new Date(Date.now() + 500).toISOString();
    const { body } = await bob!.send('POST', '/schedules', { name: 'fast', every: '5s', startAt, job });
    await eventually(async () =>
      expect((await bob!.get(`/schedules/${body.scheduleId}/slots`)).body.slots).not.toEqual([]),
    );
    expect((await bob!.send('PATCH', `/schedules/${body.scheduleId}`, { every: '1s' })).status).toBe(400);
  });
});
