import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { type RunningCatalog, startCatalog } from '../../apps/catalog-sim/src/catalog-server.js';
import { Proxy } from '../faults/harness/proxy.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { CASE_TYPES, gate, ledgerOf, letThrough, runsOf, sql } from './probe.js';

jest.setTimeout(90_000);
const PATIENCE = { timeout: 40_000 };

let database: TestDatabase;
let catalog: RunningCatalog;
let link: Proxy;
let api: TestEngine;
let distant: TestEngine;
let workers: TestEngine[] = [];

beforeAll(async () => {
  [database, catalog] = await Promise.all([createTestDatabase(), startCatalog()]);
  link = await Proxy.start(Number(new URL(database.url).port), 'postgres');
  const options = { databaseUrl: database.url, redis: testRedis(), jobTypes: CASE_TYPES };
  const far = new URL(database.url);
  far.port = String(link.port);
  const env = { CATALOG_URL: catalog.url, LEASE: '6s', MAX_CONCURRENT_TASKS: '60' };
  [api, distant, ...workers] = await Promise.all([
    startEngine({ ...options, executes: false }),
    startEngine({ ...options, databaseUrl: far.href, executes: false }),
    startEngine({ ...options, env }),
    startEngine({ ...options, env }),
  ]);
});
afterAll(async () => {
  await Promise.all([api, distant, ...workers].map((engine) => engine?.stop()));
  await Promise.all([link?.stop(), catalog?.stop(), database?.drop()]);
});

const submit = async (input: object = {}) =>
  (await api.jobs.submit({ type: 'case.work', ...input }, ALICE)).job;
const halfBroken = (name: string) =>
  Array.from({ length: 100 }, (_, at) => ({ payload: { gate: name, permanent: at % 2 === 0 } }));
const posts = (jobId: string) =>
  catalog.requests.filter((call) => call.method === 'POST' && call.body.includes(jobId));

describe('accepting a job', () => {
  test('C18: a task is sent after its commit, so that even an idle worker never looks for one that is not there', async () => {
    link.delayMs = 250;
    const { job } = await distant.jobs.submit({ type: 'case.work', numTask: 3 }, ALICE);
    link.delayMs = 0;
    expect(await api.ended(job.jobId)).toMatchObject({ status: 'completed', tasks: { completed: 3 } });
    expect(runsOf(job.jobId).map((run) => run.attempt)).toEqual([1, 1, 1]);
  });

  test('C18: of a job whose last task the database refuses nothing exists, and its neighbours are accepted', async () => {
    await sql(
      database.url,
      `ALTER TABLE task_inputs ADD CONSTRAINT refused CHECK (payload->>'poison' IS NULL)`,
    );
    const good = [{ payload: {} }, { payload: {} }];
    const [before, poisoned, after] = await Promise.allSettled([
      submit({ tasks: good }),
      submit({ tasks: [...good, { payload: { poison: 'x' } }] }),
      submit({ tasks: good }),
    ]);
    expect(poisoned.status).toBe('rejected');
    for (const neighbour of [before, after]) {
      if (neighbour.status === 'rejected') throw neighbour.reason;
      expect((await api.ended(neighbour.value.jobId)).status).toBe('completed');
    }
    const left = await sql(
      database.url,
      `SELECT (SELECT count(*) FROM task_inputs i WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = i.job_id))::int AS inputs,
         (SELECT count(*) FROM dispatch)::int AS dispatch, (SELECT count(*) FROM jobs WHERE finished_at IS NULL)::int AS jobs`,
    );
    expect(left).toEqual([{ inputs: 0, dispatch: 0, jobs: 0 }]);
  });
});

describe('the end of a job', () => {
  test('C22: a job without tasks is refused, or completed at once if its plan yields none; percents are always numbers', async () => {
    await expect(submit({ tasks: [] })).rejects.toThrow('/tasks');
    await expect(submit({ numTask: 0 })).rejects.toThrow('/numTask');
    const empty = await submit({ type: 'case.plan', payload: { count: 0 }, catalog: { name: 'empty' } });
    expect(empty.progress).toBe(0);
    expect(await api.ended(empty.jobId)).toMatchObject({
      status: 'completed',
      progress: 100,
      tasks: { total: 0, completed: 0 },
    });
    expect(posts(empty.jobId)).toEqual([]);
    const waiting = await submit({ runAt: new Date(Date.now() + 3_600_000), numTask: 7 });
    expect(waiting.progress).toBe(0);
    await api.jobs.cancel('alice', waiting.jobId, { actor: 'test' });
  });

  test('C25: each of 300 jobs whose tasks end at the same instant is completed, exactly once', async () => {
    const opening = setInterval(() => letThrough('C25'), 40).unref();
    const jobs = await Promise.all(
      Array.from({ length: 300 }, () => submit({ numTask: 2, payload: { gate: 'C25' } })),
    );
    for (const { jobId } of jobs) {
      expect(await api.ended(jobId, undefined, PATIENCE)).toMatchObject({
        status: 'completed',
        tasks: { completed: 2 },
      });
    }
    clearInterval(opening);
    const ends = await sql(
      database.url,
      `SELECT count(*)::int AS ends, count(DISTINCT job_id)::int AS jobs FROM job_events
       WHERE kind = 'job.completed' AND job_id = ANY($1::uuid[])`,
      jobs.map((job) => job.jobId),
    );
    expect(ends).toEqual([{ ends: 300, jobs: 300 }]);
  });

  test('C26: a job never ends while its plan still adds tasks, and the Catalog is called once, at the end', async () => {
    const { jobId } = await submit({
      type: 'case.plan',
      payload: { count: 500, gate: 'C26' },
      catalog: { name: 'planned' },
    });
    const totals = new Set<number | undefined>();
    const seen = async () => {
      const job = await api.jobs.find('alice', jobId);
      totals.add(job?.tasks.total);
      if (job?.status !== 'completed') expect(posts(jobId)).toEqual([]);
      return job;
    };
    await eventually(
      async () => expect(await seen()).toMatchObject({ status: 'active', tasks: { completed: 499 } }),
      PATIENCE,
    );
    expect([...totals]).toEqual([undefined]);
    gate('C26').open();
    await eventually(
      async () =>
        expect(await seen()).toMatchObject({ status: 'completed', tasks: { total: 500, completed: 500 } }),
      PATIENCE,
    );
    expect([...totals]).toEqual([undefined, 500]);
    const last = Math.max(...runsOf(jobId).map((run) => run.endedAt ?? Infinity));
    expect(posts(jobId)).toHaveLength(1);
    expect(Date.parse(posts(jobId)[0]?.at ?? '')).toBeGreaterThanOrEqual(last);
  });

  test('C27: a job fails with its first failed task and stays so, whatever its other tasks do later (feature 44)', async () => {
    const tasks = [
      { payload: { permanent: true, forMs: 100 } },
      { payload: { gate: 'C27', ignores: true } },
      { payload: { gate: 'C27' } },
    ];
    const { jobId } = await submit({ tasks, catalog: { name: 'broken' } });
    const failed = await api.ended(jobId);
    expect(failed).toMatchObject({
      status: 'failed',
      error: { code: 'handler_error', message: 'broken for good' },
      tasks: { completed: 0, failed: 1, canceled: 2 },
    });
    gate('C27').open();
    await eventually(() => expect(runsOf(jobId).every((run) => run.endedAt)).toBe(true));
    const other = await submit({ catalog: { name: 'whole' } });
    expect((await api.ended(other.jobId)).status).toBe('completed');
    expect(await api.jobs.find('alice', jobId)).toEqual(failed);
    expect(await ledgerOf(database.url, jobId)).toEqual(['queued', 'active', 'failed']);
    expect(posts(jobId)).toEqual([]);
  });

  test('C58: 100 tasks that end at one instant, half of them failed, are all counted, also beside a cancel', async () => {
    const [counted, canceled] = [
      await submit({ tasks: halfBroken('C58-a'), failurePolicy: 'continue' }),
      await submit({ tasks: halfBroken('C58-b'), failurePolicy: 'continue' }),
    ];
    await eventually(() => expect(runsOf(counted.jobId)).toHaveLength(100), PATIENCE);
    gate('C58-a').open();
    await eventually(() => expect(runsOf(canceled.jobId)).toHaveLength(100), PATIENCE);
    gate('C58-b').open();
    const answer = await api.jobs.cancel('alice', canceled.jobId, { actor: 'test' });
    expect(await api.ended(counted.jobId, undefined, PATIENCE)).toMatchObject({
      status: 'failed',
      tasks: { total: 100, completed: 50, failed: 50, canceled: 0 },
    });
    const ended = await api.ended(canceled.jobId, undefined, PATIENCE);
    expect(ended.status).toBe(answer?.kind === 'canceled' ? 'canceled' : 'failed');
    expect(ended.tasks.completed + ended.tasks.failed + ended.tasks.canceled).toBe(100);
    expect((await ledgerOf(database.url, canceled.jobId)).slice(2)).toEqual([ended.status]);
    const [stats] = await sql(
      database.url,
      'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()',
    );
    expect(stats).toEqual({ deadlocks: 0 });
  });
});

test('C13: a process that is frozen within a transaction does not keep its jobs locked for ever', async () => {
  await sql(
    database.url,
    `CREATE TABLE seen (idle_limit text, statement_limit text);
     CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO seen VALUES (current_setting('idle_in_transaction_session_timeout'), current_setting('statement_timeout'));
       RETURN NEW; END $$;
     CREATE TRIGGER see BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.status = 'canceled') EXECUTE FUNCTION see()`,
  );
  const job = await submit({ runAt: new Date(Date.now() + 3_600_000) });
  await api.jobs.cancel('alice', job.jobId, { actor: 'test' });
  expect(await sql(database.url, 'SELECT DISTINCT * FROM seen')).toEqual([
    { idle_limit: '15s', statement_limit: '14s' },
  ]);
});

// The last one, for its messages are all to be taken from the queue although they lead to nothing.
test('C62: 10,000 tasks are accepted whole and begin to run, and of one more nothing exists', async () => {
  const { jobId } = await submit({ numTask: 10_000 });
  await expect(submit({ numTask: 10_001 })).rejects.toThrow(/At most 10000 tasks/);
  const [written] = await sql(
    database.url,
    `SELECT count(DISTINCT i.position)::int AS tasks, count(t.id)::int AS rows, count(DISTINCT i.job_id)::int AS jobs
     FROM jobs j JOIN task_inputs i ON i.job_id = j.id JOIN tasks t ON t.id = i.task_id WHERE j.finished_at IS NULL`,
  );
  expect(written).toEqual({ tasks: 10_000, rows: 10_000, jobs: 1 });
  await eventually(() => expect(runsOf(jobId).length).toBeGreaterThan(100), PATIENCE);
  await api.jobs.cancel('alice', jobId, { actor: 'test' });
  const { tasks, status } = await api.ended(jobId);
  expect([status, tasks.completed + tasks.canceled, tasks.failed]).toEqual(['canceled', 10_000, 0]);
});
