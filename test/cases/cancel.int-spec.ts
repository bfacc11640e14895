import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { type RunningCatalog, startCatalog } from '../../apps/catalog-sim/src/catalog-server.js';
import { Proxy } from '../faults/harness/proxy.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { CASE_TYPES, comeDue, gate, ledgerOf, runsOf, sql } from './probe.js';

jest.setTimeout(90_000);
const PATIENCE = { timeout: 40_000 };
const HOUR = 3_600_000;

let database: TestDatabase;
let catalog: RunningCatalog;
let api: TestEngine;
let workers: TestEngine[] = [];
let start: (more?: object, env?: Record<string, string>) => Promise<TestEngine>;
let link: Proxy;

beforeAll(async () => {
  [database, catalog] = await Promise.all([createTestDatabase(), startCatalog()]);
  const redis = testRedis();
  start = (more = {}, env = {}) =>
    startEngine({
      databaseUrl: database.url,
      redis,
      jobTypes: CASE_TYPES,
      env: { CATALOG_URL: catalog.url, LEASE: '6s', ...env },
      ...more,
    });
  link = await Proxy.start(Number(new URL(redis.url).port), 'redis');
  const behindLink = { redis: { ...redis, url: `redis://127.0.0.1:${link.port}` } };
  // Two with a straight way to Redis, and one whose way the tests can cut.
  [api, ...workers] = await Promise.all([
    start({ executes: false }),
    start({}, { MAX_CONCURRENT_TASKS: '10' }),
    start({}, { MAX_CONCURRENT_TASKS: '10' }),
    start(behindLink, { MAX_CONCURRENT_TASKS: '10' }),
  ]);
});
afterAll(async () => {
  await Promise.all([api, ...workers].map((engine) => engine?.stop()));
  await Promise.all([link?.stop(), catalog?.stop(), database?.drop()]);
});

const submit = async (input: object = {}) =>
  (await api.jobs.submit({ type: 'case.work', ...input }, ALICE)).job;
const cancel = async (jobId: string) => {
  const answer = await api.jobs.cancel('alice', jobId, { actor: 'test' });
  if (answer?.kind !== 'canceled') throw new Error(`The cancel was answered with ${JSON.stringify(answer)}.`);
  return answer.job;
};
const running = (jobId: string, count = 1) =>
  eventually(() => expect(runsOf(jobId).length).toBeGreaterThanOrEqual(count), PATIENCE);
/** Whatever was to run before this has had its turn. */
const turnOfAll = async (input: object = {}) => {
  const job = await submit({ numTask: 30, ...input });
  expect((await api.ended(job.jobId, undefined, PATIENCE)).status).toBe('completed');
};

describe('a cancel of what does not run yet', () => {
  test('C01: a job canceled while it waits is never started, and one canceled as it is picked up ends canceled', async () => {
    const rounds = Array.from({ length: 30 }, (_, round) => round);
    const outcomes = await Promise.all(
      rounds.map(async (round) => {
        const name = `C01-${round}`;
        const busy = await submit({ payload: { gate: name }, numTask: 2 });
        const job = await submit({ payload: { forMs: HOUR }, numTask: 2 });
        // Half of the cancels come before there is room, half at the moment in which there is.
        if (round % 2 === 0) await cancel(job.jobId);
        gate(name).open();
        const canceled = await cancel(job.jobId);
        return { busy, canceled };
      }),
    );
    await turnOfAll();
    for (const { busy, canceled } of outcomes) {
      expect((await api.ended(busy.jobId)).status).toBe('completed');
      const [job, tasks] = [
        await api.jobs.find('alice', canceled.jobId),
        await api.jobs.tasks('alice', canceled.jobId, { limit: 10 }),
      ];
      expect(job).toMatchObject({ status: 'canceled', version: canceled.version, tasks: { canceled: 2 } });
      // Who started was told to stop, and who was not claimed before the cancel did not start.
      const claimed = tasks?.filter((task) => task.startedAt !== null).map((task) => task.position) ?? [];
      for (const run of runsOf(canceled.jobId)) {
        expect(claimed).toContain(run.position);
        await eventually(() => expect(run.abortedAt).toBeDefined());
      }
      expect(runsOf(canceled.jobId).length).toBeLessThanOrEqual(2);
    }
    const early = outcomes.filter((_, round) => round % 2 === 0);
    const unstarted = early.filter(({ canceled }) => canceled.startedAt === null);
    expect(unstarted.length).toBeGreaterThan(0);
    for (const { canceled } of unstarted) expect(runsOf(canceled.jobId)).toEqual([]);
  });

  test('C02: a scheduled job that is canceled never begins, also when all workers were restarted before its time', async () => {
    const scheduled = await submit({ runAt: new Date(Date.now() + HOUR), numTask: 2 });
    const canceled = await cancel(scheduled.jobId);
    await workers[1]?.stop();
    workers[1] = await start({}, { MAX_CONCURRENT_TASKS: '10' });
    await comeDue(database.url, scheduled.jobId);
    await turnOfAll();
    expect(runsOf(scheduled.jobId)).toEqual([]);
    expect(await api.jobs.find('alice', scheduled.jobId)).toEqual({ ...canceled, runAt: expect.any(Date) });
    expect(await ledgerOf(database.url, scheduled.jobId)).toEqual(['scheduled', 'canceled']);
    expect(await sql(database.url, 'SELECT 1 FROM dispatch WHERE job_id = $1', scheduled.jobId)).toEqual([]);
  });

  test('C03: a task canceled while it waits for its next attempt has no further one', async () => {
    const job = await submit({ type: 'case.patient', payload: { failFirst: 99 }, attempts: 5 });
    await eventually(async () => {
      expect(await api.jobs.tasks('alice', job.jobId, { limit: 1 })).toMatchObject([{ status: 'retrying' }]);
    });
    const canceled = await cancel(job.jobId);
    await comeDue(database.url, job.jobId);
    await turnOfAll();
    expect(runsOf(job.jobId)).toHaveLength(1);
    expect(await api.jobs.find('alice', job.jobId)).toEqual(canceled);
    expect(await api.jobs.tasks('alice', job.jobId, { limit: 1 })).toMatchObject([
      { status: 'canceled', attempt: 1 },
    ]);
  });
});

describe('a cancel of what runs', () => {
  test.each([
    ['returns', {}],
    ['throws', { failFirst: 99 }],
  ])(
    'C05: nothing replaces a cancel when a handler that ignored it %s later, and the Catalog is not called (feature 46)',
    async (_how, knobs) => {
      const name = `C05-${_how}`;
      const job = await submit({ payload: { gate: name, ignores: true, ...knobs }, catalog: { name } });
      await running(job.jobId);
      const canceled = await cancel(job.jobId);
      await eventually(() => expect(runsOf(job.jobId)[0]?.abortedAt).toBeDefined());
      gate(name).open();
      // Another one, from its start through the syncer to the Catalog: ours had all that time.
      await turnOfAll({ catalog: { name: 'later' } });
      await eventually(async () =>
        expect((await api.jobs.find('alice', job.jobId))?.cancelReceipt?.state).toBe('stopped'),
      );
      expect(await api.jobs.find('alice', job.jobId)).toMatchObject({
        status: 'canceled',
        result: null,
        error: null,
        version: canceled.version,
        finishedAt: canceled.finishedAt,
      });
      expect((await ledgerOf(database.url, job.jobId)).at(-1)).toBe('canceled');
      expect(runsOf(job.jobId)).toHaveLength(1);
      expect(catalog.requests.filter((call) => call.body.includes(name))).toEqual([]);
    },
  );

  test('C07: a worker that Redis does not reach learns of a cancel from Postgres, and by message again afterwards', async () => {
    const ids: string[] = [];
    for (const way of ['silent', 'cut'] as const) {
      // Enough for all three workers.
      const job = await submit({ payload: { forMs: HOUR }, numTask: 24 });
      await running(job.jobId, 24);
      if (way === 'silent') link.silent = true;
      else link.partition();
      await cancel(job.jobId);
      await eventually(() => expect(runsOf(job.jobId).every((run) => run.endedAt)).toBe(true), PATIENCE);
      expect((await api.jobs.find('alice', job.jobId))?.status).toBe('canceled');
      link.heal();
      ids.push(job.jobId);
    }
    await turnOfAll();
    expect(ids.map((id) => runsOf(id).length)).toEqual([24, 24]);
  });

  test('C07: a job that was canceled while no worker was up is not started by one that comes later', async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.stop()));
    const job = await submit({ numTask: 3 });
    await cancel(job.jobId);
    workers = await Promise.all([1, 2, 3].map(() => start({}, { MAX_CONCURRENT_TASKS: '10' })));
    await turnOfAll();
    expect(runsOf(job.jobId)).toEqual([]);
  });

  test('C08: a cancel reaches its handlers in whichever process they run, and no others', async () => {
    // More than two of the three have room for.
    const jobs = await Promise.all(Array.from({ length: 24 }, () => submit({ payload: { forMs: HOUR } })));
    await Promise.all(jobs.map((job) => running(job.jobId)));
    const holders = new Set(
      await Promise.all(
        jobs.map(async (job) => (await api.jobs.tasks('alice', job.jobId, { limit: 1 }))?.[0]?.worker),
      ),
    );
    expect(holders.size).toBe(3);
    const [doomed, spared] = [jobs.slice(0, 12), jobs.slice(12)];
    await Promise.all(doomed.map((job) => cancel(job.jobId)));
    await eventually(() => expect(doomed.every((job) => runsOf(job.jobId)[0]?.abortedAt)).toBe(true));
    for (const job of spared) {
      expect((await api.jobs.find('alice', job.jobId))?.status).toBe('active');
      expect(runsOf(job.jobId)[0]?.abortedAt).toBeUndefined();
    }
    await Promise.all(spared.map((job) => cancel(job.jobId)));
  });

  test('C09: of four long jobs of one type and two owners the named one is aborted, and the others complete', async () => {
    const bob = { ownerId: 'alice-2', actor: 'key:bob' };
    // Names of which one begins as another does: of owners and of keys.
    const submitAs = async (by: typeof ALICE, input: object) =>
      (await api.jobs.submit({ type: 'case.work', payload: { gate: 'C09' }, ...input }, by)).job;
    const named = await submitAs(ALICE, { dedupeKey: 'model-1' });
    const spared = [
      { by: ALICE, job: await submitAs(ALICE, { dedupeKey: 'model-10' }) },
      { by: bob, job: await submitAs(bob, { dedupeKey: 'model-1' }) },
      { by: bob, job: await submitAs(bob, { dedupeKey: 'model-11', numTask: 3 }) },
    ];
    await Promise.all([
      running(named.jobId),
      ...spared.map(({ job }) => running(job.jobId, job.tasks.total)),
    ]);
    expect(await api.jobs.cancel('alice', spared[1]!.job.jobId, { actor: 'test' })).toBeUndefined();
    expect(await api.jobs.cancel('alice-2', named.jobId, { actor: 'test' })).toBeUndefined();
    await cancel(named.jobId);
    await eventually(() => expect(runsOf(named.jobId)[0]?.endedAt).toBeDefined());
    gate('C09').open();
    for (const { by, job } of spared) {
      await eventually(async () =>
        expect(await api.jobs.find(by.ownerId, job.jobId)).toMatchObject({
          status: 'completed',
          cancelReceipt: null,
        }),
      );
      for (const run of runsOf(job.jobId)) expect(run.abortedAt).toBeUndefined();
    }
    await eventually(async () =>
      expect(await api.jobs.find('alice', named.jobId)).toMatchObject({
        status: 'canceled',
        cancelReceipt: { state: 'stopped', stops: [{ fencedAt: null }] },
      }),
    );
    const canceled = await sql(database.url, `SELECT 1 FROM cancellations WHERE job_id = ANY($1::uuid[])`, [
      named.jobId,
      ...spared.map(({ job }) => job.jobId),
    ]);
    expect(canceled).toHaveLength(1);
  });
});
