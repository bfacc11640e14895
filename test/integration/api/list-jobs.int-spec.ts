import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Job } from '@app/core';
import { onDatabase } from '../../../scripts/db/database.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
let second: TestService;
let alice: ApiUser;
let bob: ApiUser;
let jobs: Record<'later' | 'ended' | 'canceled' | 'labelled', Job>;

beforeAll(async () => {
  database = await createTestDatabase();
  const redis = testRedis();
  [service, second] = await Promise.all([
    startService(serviceEnvironment(database.url, redis)),
    startService(serviceEnvironment(database.url, redis, { SERVICE_TYPE: 'api' })),
  ]);
  [alice, bob] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'bob')]);
  const later = { runAt: '2099-01-01T00:00:00Z' };
  const short = { type: 'demo.wait', payload: { durationMs: 10 } };
  jobs = {
    later: await alice.submit({ ...short, ...later }),
    ended: await alice.submit(short),
    canceled: await alice.submit({ ...short, ...later }),
    labelled: await alice.submit({ ...short, ...later, labels: { project: 'Turm 7', note: 'x' } }),
  };
  await alice.send('DELETE', `/jobs/${jobs.canceled.jobId}`);
  await alice.until(jobs.ended.jobId);
  await bob.submit({ ...short, ...later, labels: { project: 'Turm 7' } });
}, 60_000);
afterAll(async () => {
  await Promise.all([service?.stop(), second?.stop()]);
  await database?.drop();
});

const listed = async (query: string) => {
  const { status, body } = await alice.get(`/jobs?${query}`);
  expect([status, body.detail]).toEqual([200, undefined]);
  return body.jobs.map(({ jobId }: Job) => Object.entries(jobs).find(([, job]) => job.jobId === jobId)?.[0]);
};

describe('the filters of a list (feature 3)', () => {
  test.each([
    ['status=completed', ['ended']],
    ['status=scheduled', ['labelled', 'later']],
    ['status=scheduled,canceled', ['labelled', 'canceled', 'later']],
    ['status=failed', []],
    ['type=demo.wait&status=canceled', ['canceled']],
    ['type=files.ingest', []],
    ['tag=disk', []],
    ['labels.project=Turm%207', ['labelled']],
    ['labels.project=other,Turm%207&status=scheduled', ['labelled']],
    ['labels.project=Turm%207&labels.stage=a', []],
    ['from=2000-01-01T00:00:00Z&limit=2', ['labelled', 'canceled']],
    ['to=2000-01-01T00:00:00Z', []],
  ])('%s', async (query, expected) => {
    expect(await listed(query)).toEqual(expected);
  });

  test('shows the labels of a job as they were given', async () => {
    expect(jobs.labelled.labels).toEqual({ project: 'Turm 7', note: 'x' });
    expect((await alice.get(`/jobs/${jobs.labelled.jobId}`)).body.labels).toEqual(jobs.labelled.labels);
    expect(jobs.ended.labels).toEqual({});
  });

  test.each([
    ['labels.note=x', '/labels.note'],
    ['labels.constructor=x', '/labels.constructor'],
    ['labels.__proto__=x', '/labels.__proto__'],
    ['labels.project=', '/labels.project'],
    ['labels=x', '/labels'],
    ['status=done', '/status/0'],
    ['status=completed,', '/status/1'],
    ['status=completed&status=failed', '/status'],
    ['status[not]=completed', '/status[not]'],
    [`type=${Array.from({ length: 21 }, (_, at) => at).join(',')}`, '/type'],
    ['type=a%00b', '/type/0'],
    ['tag=', '/tag/0'],
    ['from=yesterday', '/from'],
    ['from=9999999-01-01T00:00:00Z', '/from'],
    ['from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z', '/to'],
    ['ownerId=bob', '/ownerId'],
    ['sort=id', '/sort'],
  ])('%s is refused with 400 that names the parameter', async (query, pointer) => {
    const { status, body } = await alice.get(`/jobs?${query}`);
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, pointer]);
  });

  test.each([
    [{ 'a b': 'x' }, '/labels/a b'],
    [{ a: '' }, '/labels/a'],
    [{ a: 'x,y' }, '/labels/a'],
    [{ a: 'x'.repeat(201) }, '/labels/a'],
    [{ a: 1 }, '/labels/a'],
    [Object.fromEntries(Array.from({ length: 21 }, (_, at) => [`k${at}`, 'x'])), '/labels'],
  ])('a job with the labels %j is refused', async (labels, pointer) => {
    const { status, body } = await alice.send('POST', '/jobs', { type: 'demo.wait', labels });
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, pointer]);
  });
});

const first = async (query: string) => String((await alice.get(`/jobs?limit=1&${query}`)).body.nextCursor);

describe('a list for administrators (feature 3)', () => {
  test('is of their own jobs, of those of another owner, or of those of all, as it is asked for', async () => {
    const admin = await apiUser(service, 'root', ['admin']);
    const idsOf = async (query: string) => {
      const { body } = await admin.get(`/jobs${query}`);
      return body.jobs.map((job: Job) => `${job.ownerId} ${job.jobId}`) as string[];
    };
    expect(await idsOf('')).toEqual([]);
    const alices = Object.values(jobs).map(({ jobId }) => `alice ${jobId}`);
    expect((await idsOf('?ownerId=alice')).toSorted()).toEqual(alices.toSorted());
    const all = await idsOf('?ownerId=*');
    expect(all).toHaveLength(5);
    expect(all[0]).toMatch(/^bob /);
    expect(await idsOf('?ownerId=*&status=canceled')).toEqual([`alice ${jobs.canceled.jobId}`]);
    expect(await idsOf('?ownerId=*&labels.project=Turm%207')).toHaveLength(2);
    expect(await idsOf('?ownerId=nobody')).toEqual([]);
    const paged: string[] = [];
    for (let cursor = ''; cursor !== 'null';) {
      const { body } = await admin.get(`/jobs?ownerId=*&limit=2${cursor && `&cursor=${cursor}`}`);
      paged.push(...body.jobs.map((job: Job) => `${job.ownerId} ${job.jobId}`));
      cursor = String(body.nextCursor);
      // Of this list, and of no other one.
      for (const other of ['', 'ownerId=alice&'])
        expect((await admin.get(`/jobs?${other}cursor=${cursor}`)).status).toBe(400);
    }
    expect(paged).toEqual(all);
  });

  test('shows who submitted each job, and with which credential', async () => {
    const [, keyId] = /^lh_([^_]+)_/.exec(alice.key) ?? [];
    expect((await alice.get(`/jobs/${jobs.later.jobId}`)).body).toMatchObject({
      ownerId: 'alice',
      submittedBy: `key:${keyId}`,
    });
  });
});

describe('a cursor (feature 3)', () => {
  test('goes on in the same list, in whichever process, and with another limit', async () => {
    const cursor = await first('status=scheduled');
    const elsewhere = new (alice.constructor as typeof ApiUser)(second.url, alice.key);
    const { body } = await elsewhere.get(`/jobs?status=scheduled&limit=7&cursor=${cursor}`);
    expect(body).toMatchObject({ jobs: [{ jobId: jobs.later.jobId }], nextCursor: null });
  });

  test('case 27: of another owner, another list or another making is refused', async () => {
    const cursor = await first('status=scheduled');
    const bytes = Buffer.from(cursor, 'base64url');
    const changed = Buffer.from(bytes);
    changed[20] = changed[20]! ^ 1;
    const unsigned = Buffer.from('[1795612797637,"01a212dc-eac3-757a-8a43-0063cfb8d3cb"]').toString(
      'base64url',
    );
    const asked = [
      bob.get(`/jobs?status=scheduled&cursor=${cursor}`),
      alice.get(`/jobs?cursor=${cursor}`),
      alice.get(`/jobs?status=scheduled&type=demo.wait&cursor=${cursor}`),
      alice.get(`/jobs/${jobs.later.jobId}/tasks?cursor=${cursor}`),
      alice.get(`/jobs/${jobs.later.jobId}/events?cursor=${cursor}`),
      ...[changed.toString('base64url'), unsigned, 'abc', `${cursor}=`, '%00', 'x'.repeat(10_000)].map(
        (text) => alice.get(`/jobs?status=scheduled&cursor=${text}`),
      ),
    ];
    for (const { status, body } of await Promise.all(asked)) {
      expect([status, body.errors?.[0]?.pointer, body.jobs]).toEqual([400, '/cursor', undefined]);
    }
  });
});

describe('a page (feature 3)', () => {
  test('ends before its time when its jobs are large, and goes on with the next one', async () => {
    const carol = await apiUser(service, 'carol');
    const kibs = [100, 3000, ...Array.from({ length: 20 }, () => 250)];
    await onDatabase(database.url, (client) =>
      client.query(
        `INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, outcome, failure_policy, max_attempts, resumable,
           finalize, payload, created_at, finished_at)
         SELECT gen_random_uuid(), 'carol', 'key:test', 'demo.wait', 'default', 'failed', 'failed', 'fail-fast', 1, false,
           false, jsonb_build_object('kib', kib, 'text', repeat('x', kib * 1024)), now() - nth * interval '1 s', now()
         FROM unnest($1::int[]) WITH ORDINALITY AS k(kib, nth)`,
        [kibs],
      ),
    );
    const pages: number[][] = [];
    for (let cursor = ''; cursor !== 'null';) {
      const { body } = await carol.get(`/jobs?limit=200&status=failed${cursor && `&cursor=${cursor}`}`);
      pages.push(body.jobs.map(({ payload }: { payload: { kib: number } }) => payload.kib));
      cursor = String(body.nextCursor);
    }
    expect(pages.flat()).toEqual(kibs);
    expect(pages.map((page) => page.length)).toEqual([2, 9, 9, 2]);
  });

  test('that Postgres does not find in time is refused, where two filters may need any number of jobs', async () => {
    await onDatabase(database.url, async (client) => {
      await client.query('BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE');
      try {
        const { status, body } = await alice.get('/jobs?status=failed&type=demo.wait');
        expect([status, body.type, body.errors[0].pointer]).toEqual([
          400,
          'urn:longhaul:problem:validation-error',
          '/from',
        ]);
      } finally {
        await client.query('ROLLBACK');
      }
    });
    expect((await alice.get('/jobs?status=failed&type=demo.wait')).status).toBe(200);
  });
});

describe('the ledger of a job (feature 15)', () => {
  test('tells what happened, by whom and why, page by page', async () => {
    const path = `/jobs/${jobs.ended.jobId}/events`;
    const { body } = await alice.get(path);
    expect(body.events[0]).toMatchObject({
      id: '1.0',
      version: 1,
      generation: 1,
      kind: 'job.queued',
      reason: null,
    });
    const kinds = body.events.map(({ kind }: { kind: string }) => kind);
    expect(kinds).toEqual(
      expect.arrayContaining(['task.active', 'job.active', 'task.completed', 'job.completed']),
    );
    expect(JSON.stringify(body)).not.toMatch(/fence|seq/);
    const paged = [];
    for (let cursor = ''; ;) {
      const page = (await alice.get(`${path}?limit=1${cursor}`)).body;
      paged.push(...page.events);
      if (page.nextCursor === null) break;
      cursor = `&cursor=${page.nextCursor}`;
    }
    expect(paged).toEqual(body.events);
    expect((await bob.get(path)).body).toMatchObject({ status: 404 });
  });
});
