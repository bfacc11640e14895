import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { Job } from '@app/core';
import { type RunningCatalog, startCatalog } from '../../apps/catalog-sim/src/catalog-server.js';
import type { FaultInput } from '../../apps/catalog-sim/src/fault-script.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { CASE_TYPES, gate, runsOf, sql } from './probe.js';

jest.setTimeout(120_000);
const PATIENCE = { timeout: 40_000 };

let database: TestDatabase;
let catalog: RunningCatalog;
let engines: TestEngine[] = [];
let first: TestEngine;
let start: (env?: Record<string, string>) => Promise<TestEngine>;

beforeAll(async () => {
  [database, catalog] = await Promise.all([createTestDatabase(), startCatalog()]);
  const redis = testRedis();
  start = (env = {}) =>
    startEngine({
      databaseUrl: database.url,
      redis,
      jobTypes: CASE_TYPES,
      env: {
        CATALOG_URL: catalog.url,
        CATALOG_TIMEOUT: '15s',
        LEASE: '6s',
        MAX_CONCURRENT_TASKS: '30',
        ...env,
      },
    });
  engines = await Promise.all([start(), start(), start()]);
  first = engines[0] as TestEngine;
});
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.stop()));
  await Promise.all([catalog?.stop(), database?.drop()]);
});
beforeEach(() => catalog.clearFaults());

const submit = async (input: object = {}) =>
  (await first.jobs.submit({ type: 'case.work', catalog: { name: 'case' }, ...input }, ALICE)).job;
const posts = (jobId: string) =>
  catalog.requests.filter((call) => call.method === 'POST' && call.body.includes(jobId));

describe('three syncers', () => {
  test('C28: finalize each of 50 jobs once when all their last tasks end together', async () => {
    const jobs = await Promise.all(
      Array.from({ length: 50 }, () => submit({ payload: { gate: 'C28' }, failurePolicy: 'continue' })),
    );
    await eventually(() => expect(jobs.every((job) => runsOf(job.jobId).length === 1)).toBe(true), PATIENCE);
    gate('C28').open();
    for (const { jobId } of jobs) {
      expect((await first.ended(jobId, undefined, PATIENCE)).status).toBe('completed');
      expect(posts(jobId).map((call) => call.idempotencyKey)).toEqual([`${jobId}.1`]);
    }
    const ledgers = await sql(
      database.url,
      `SELECT states, count(*)::int AS jobs FROM (
         SELECT string_agg(kind, ' ' ORDER BY version) AS states FROM job_events WHERE kind LIKE 'job.%' GROUP BY job_id
       ) l GROUP BY states`,
    );
    expect(ledgers).toEqual([{ states: 'job.queued job.active job.finalizing job.completed', jobs: 50 }]);
  });

  test('C32: make one call at a time for a job, however much slower the Catalog is than their ticks', async () => {
    catalog.script({ delayMs: 1500, times: 4, match: { method: 'POST' } });
    const jobs = await Promise.all([1, 2, 3, 4].map(() => submit()));
    for (const { jobId } of jobs) {
      const ended = await first.ended(jobId, undefined, PATIENCE);
      expect(ended.status).toBe('completed');
      expect(Number(ended.finishedAt) - Number(ended.createdAt)).toBeGreaterThanOrEqual(1400);
      expect(posts(jobId)).toHaveLength(1);
    }
  });
});

describe('a call of the Catalog', () => {
  const post = { match: { method: 'POST' } } as const;
  // By what befalls the calls of one job each; all of them are on their way at once.
  const faults = {
    'is refused with 500': [{ status: 500, ...post }],
    'is answered with 500 although it was done': [{ mode: 'apply-then-500', ...post }],
    'is done and its answer lost': [{ mode: 'apply-then-drop', ...post }],
    'is cut off': [{ mode: 'reset', ...post }],
    // It is asked whether the record is there, and told by a reader that lags behind that it is not.
    'is said to be there already': [
      { mode: 'apply-then-500', ...post },
      { status: 404, match: { method: 'GET' } },
      { status: 409, body: { message: 'already there' }, ...post },
    ],
    'is refused later': [
      { status: 500, ...post },
      { status: 422, body: { message: 'no such thing' }, ...post },
    ],
  } satisfies Record<string, FaultInput[]>;
  let jobs: Record<keyof typeof faults, Job>;
  beforeAll(async () => {
    const ended = Object.entries<FaultInput[]>(faults).map(async ([what, script]) => {
      const { jobId } = await submit({
        payload: { gate: what },
        catalog: { name: 'ä "q"', nested: { b: [1, null], a: 2.5 } },
      });
      catalog.script(...script.map((fault) => ({ ...fault, match: { ...fault.match, id: jobId } })));
      gate(what).open();
      return [what, await first.ended(jobId, undefined, PATIENCE)];
    });
    jobs = Object.fromEntries(await Promise.all(ended));
  });

  test.each([
    ['is refused with 500', 2],
    ['is answered with 500 although it was done', 1],
    ['is done and its answer lost', 1],
    ['is cut off', 2],
  ] as const)(
    'C29: that %s is repeated with the same key and the same bytes, if it was not done',
    (what, calls) => {
      const { jobId, status } = jobs[what];
      expect(status).toBe('completed');
      expect(posts(jobId)).toHaveLength(calls);
      expect(new Set(posts(jobId).map((call) => call.body)).size).toBe(1);
      expect(new Set(posts(jobId).map((call) => call.idempotencyKey))).toEqual(new Set([`${jobId}.1`]));
      expect(catalog.records().get(jobId)).toMatchObject({ name: 'ä "q"' });
    },
  );

  test('C29: that is answered with "already there" after an earlier one of unknown outcome counts as done', () => {
    const { jobId, status, error } = jobs['is said to be there already'];
    expect(catalog.records().has(jobId)).toBe(true);
    expect([status, error]).toEqual(['completed', null]);
    expect(posts(jobId)).toHaveLength(2);
  });

  test('C29: that is refused after an earlier one of unknown outcome fails the job if the record is not there', () => {
    const { jobId, status, error } = jobs['is refused later'];
    expect([status, error?.code]).toEqual(['failed', 'catalog_rejected']);
    expect(error?.message).toContain('no such thing');
    expect(posts(jobId)).toHaveLength(2);
  });

  test('C30: that is never answered is given up in time, holds up no other job, and shows as finalizing', async () => {
    await Promise.all(engines.splice(0).map((engine) => engine.stop()));
    const hasty = { CATALOG_TIMEOUT: '2s' };
    engines = await Promise.all([start(hasty), start(hasty), start(hasty)]);
    first = engines[0] as TestEngine;
    const hanging = await submit({ payload: { gate: 'C30' } });
    catalog.script({ mode: 'hang', times: 100, match: { id: hanging.jobId } });
    gate('C30').open();
    await eventually(() => expect(posts(hanging.jobId)).toHaveLength(1), PATIENCE);
    const others = await Promise.all([1, 2, 3, 4, 5].map(() => submit()));
    for (const { jobId } of others)
      expect((await first.ended(jobId, undefined, PATIENCE)).status).toBe('completed');
    expect(await first.jobs.find('alice', hanging.jobId)).toMatchObject({
      status: 'finalizing',
      progress: 99,
    });
    const calls = () => catalog.requests.filter((call) => `${call.path}${call.body}`.includes(hanging.jobId));
    await eventually(() => expect(calls().length).toBeGreaterThanOrEqual(2), PATIENCE);
    // A stop does not wait for a call that hangs.
    await Promise.all(engines.splice(0).map((engine) => engine.stop()));
    const patient = await start({ CATALOG_TIMEOUT: '5m', SHUTDOWN_GRACE: '50s' });
    const before = calls().length;
    await eventually(() => expect(calls().length).toBeGreaterThan(before), PATIENCE);
    const told = performance.now();
    await patient.stop();
    // Else it waits for as long as it may.
    expect(performance.now() - told).toBeLessThan(25_000);
    engines = [await start()];
    first = engines[0] as TestEngine;
    catalog.clearFaults();
    expect((await first.ended(hanging.jobId, undefined, PATIENCE)).status).toBe('completed');
  });

  test('is made once when the job could not be written afterwards, and no other record is touched (feature 42)', async () => {
    const other = await submit();
    await first.ended(other.jobId, undefined, PATIENCE);
    const untouched = catalog.records().get(other.jobId);
    // A sequence is not taken back with the transaction that asked it.
    await sql(
      database.url,
      `CREATE SEQUENCE refused;
       CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF nextval('refused') <= 2 THEN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$;
       CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW
         WHEN (OLD.status = 'finalizing' AND NEW.status = 'completed') EXECUTE FUNCTION refuse()`,
    );
    const { jobId } = await submit();
    expect((await first.ended(jobId, undefined, PATIENCE)).status).toBe('completed');
    expect(await sql(database.url, 'SELECT last_value::int AS n FROM refused')).toEqual([{ n: 3 }]);
    expect(posts(jobId)).toHaveLength(1);
    expect(catalog.records().get(other.jobId)).toEqual(untouched);
  });
});
