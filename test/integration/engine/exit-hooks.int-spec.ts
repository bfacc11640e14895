import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { z } from 'zod';
import {
  type CatalogEntry,
  type ExitContext,
  type ExitedJob,
  JobType,
  type JobView,
  PermanentError,
  type TaskContext,
  type TaskView,
} from '@app/core';
import { type RunningCatalog, startCatalog } from '../../../apps/catalog-sim/src/catalog-server.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { gate } from '../store/store-fixture.js';

const Payload = z
  .object({
    waits: z.boolean().default(false).describe('until it is told to stop'),
    permanent: z.boolean().default(false).describe('whether it fails for good'),
    company: z.int().default(0).describe('how many of its job it lets begin first'),
    lingers: z.boolean().default(false).describe('until the test lets it go, although told to stop'),
    hook: z.enum(['done', 'throws', 'held', 'waits']).default('done'),
    publish: z.boolean().default(false),
  })
  .prefault({});
type Payload = z.infer<typeof Payload>;

/** What the hooks were told, in their order. */
let exits: { job: ExitedJob<Payload>; key: string; running: number; recorded: boolean }[] = [];
let running = new Map<string, number>();
/** What lingering handlers and held hooks wait for. */
let release = gate();
let catalog: RunningCatalog;

@JobType({ name: 'test.exit', payload: Payload, resumable: true, cancelGrace: '1m' })
class Exit {
  async run({ payload }: TaskView<Payload>, { signal, job }: TaskContext) {
    running.set(job.jobId, (running.get(job.jobId) ?? 0) + 1);
    try {
      await eventually(() => expect(running.get(job.jobId)).toBeGreaterThanOrEqual(payload.company));
      if (payload.waits && !signal.aborted) await once(signal, 'abort');
      if (payload.lingers) await release.opened;
      signal.throwIfAborted();
      if (payload.permanent) throw new PermanentError('broken for good');
      return 'fine';
    } finally {
      running.set(job.jobId, (running.get(job.jobId) ?? 0) - 1);
    }
  }
  catalog({ jobId, payload }: JobView<Payload>): CatalogEntry | undefined {
    return payload.publish ? { id: jobId, metadata: { name: jobId }, links: [{ path: 'a' }] } : undefined;
  }
  async onJobExited(job: ExitedJob<Payload>, { key, signal }: ExitContext) {
    exits.push({
      job,
      key,
      running: running.get(job.jobId) ?? 0,
      recorded: catalog.records().has(job.jobId),
    });
    if (job.payload.hook === 'throws') throw new Error('the hook broke');
    if (job.payload.hook === 'held') await release.opened;
    if (job.payload.hook !== 'waits') return;
    if (!signal.aborted) await once(signal, 'abort');
    signal.throwIfAborted();
  }
}

let database: TestDatabase;
const redis = testRedis();
let engines: TestEngine[] = [];
const boot = async (env: Record<string, string> = {}) => {
  const options = { databaseUrl: database.url, redis, jobTypes: [Exit] };
  const engine = await startEngine({ ...options, env: { CATALOG_URL: catalog.url, ...env } });
  engines.push(engine);
  return engine;
};
let engine: TestEngine;

beforeAll(async () => {
  [catalog, database] = await Promise.all([startCatalog(), createTestDatabase()]);
  engine = await boot();
});
afterAll(async () => {
  await Promise.all(engines.map((one) => one.stop()));
  await Promise.all([catalog?.stop(), database?.drop()]);
});
afterEach(() => {
  release.open();
  release = gate();
});

const submit = async (input: object = {}) =>
  (await engine.jobs.submit({ type: 'test.exit', ...input }, ALICE)).job.jobId;
const exitsOf = (jobId: string) => exits.filter(({ job }) => job.jobId === jobId);
const sql = <R>(text: string, ...values: unknown[]) =>
  onDatabase(database.url, async (client) => (await client.query(text, values)).rows as R[]);
const events = (jobId: string) =>
  sql<{ kind: string; reason: string | null; actor: string }>(
    `SELECT kind, reason, actor FROM job_events WHERE job_id = $1 AND kind LIKE 'job.%' ORDER BY seq`,
    jobId,
  );
/** Waits until the exit of a job is over, and answers what its hook was told, each time. */
const exited = (jobId: string) =>
  eventually(async () => {
    expect((await events(jobId)).at(-1)).toMatchObject({ kind: 'job.exited' });
    return exitsOf(jobId);
  });
const soon = (ms: number) => new Date(Date.now() + ms);
const pending = async (jobId: string) =>
  (await sql(`SELECT FROM dispatch WHERE id = $1 AND kind = 'exit'`, jobId)).length > 0;
const cancel = (jobId: string) => engine.jobs.cancel('alice', jobId, { actor: 'test' });
const retry = (jobId: string) => engine.jobs.retry('alice', jobId, { actor: 'test' });

describe('feature 30: the exit hook of a job', () => {
  test('is told of a completed job once, with its result, and the job does not change', async () => {
    const jobId = await submit();
    const done = await engine.ended(jobId);
    expect(await exited(jobId)).toEqual([
      {
        job: expect.objectContaining({
          jobId,
          status: 'completed',
          result: 'fine',
          error: null,
          generation: 1,
        }),
        key: `${jobId}.1`,
        running: 0,
        recorded: false,
      },
    ]);
    expect(exitsOf(jobId)[0]?.job.finishedAt).toEqual(done.finishedAt);
    expect(await engine.jobs.find('alice', jobId)).toEqual(done);
    expect(await pending(jobId)).toBe(false);
  });

  test('is told of a failed job, with its error', async () => {
    const jobId = await submit({ payload: { permanent: true } });
    const [exit] = await exited(jobId);
    expect(exit?.job).toMatchObject({
      status: 'failed',
      error: { code: 'handler_error', message: 'broken for good' },
    });
    expect((await engine.jobs.find('alice', jobId))?.cancelReceipt).toBeNull();
  });

  test('is told of a job that was canceled before it began', async () => {
    const jobId = await submit({ runAt: soon(60_000) });
    await cancel(jobId);
    expect(await exited(jobId)).toMatchObject([{ job: { status: 'canceled', error: null } }]);
  });

  test('is told of a job that was not begun in time', async () => {
    const jobId = await submit({ runAt: soon(60_000), expiresAt: soon(120_000) });
    await sql(`UPDATE jobs SET expires_at = now() WHERE id = $1`, jobId);
    await sql(`UPDATE dispatch SET look_again_at = now() WHERE id = $1 AND kind = 'deadline'`, jobId);
    expect(await exited(jobId)).toMatchObject([
      { job: { status: 'failed', error: { code: 'missed_deadline' } } },
    ]);
  });

  test('waits until the attempts of a canceled job have stopped', async () => {
    const jobId = await submit({ numTask: 2, payload: { waits: true, lingers: true } });
    await eventually(() => expect(running.get(jobId)).toBe(2));
    await cancel(jobId);
    await eventually(async () =>
      expect((await engine.jobs.find('alice', jobId))?.cancelReceipt?.state).toBe('delivered'),
    );
    // Another job ends, and its hook is run, while this one waits.
    await exited(await submit());
    expect(exitsOf(jobId)).toEqual([]);
    expect(await retry(jobId)).toEqual({ kind: 'exiting', status: 'canceled' });
    release.open();
    expect(await exited(jobId)).toMatchObject([{ running: 0, job: { status: 'canceled' } }]);
  });

  test('waits until the other attempts of a job that failed fast have stopped, and no cancel shows', async () => {
    const wait = { payload: { waits: true, lingers: true } };
    const jobId = await submit({ tasks: [wait, wait, { payload: { permanent: true, company: 3 } }] });
    const failed = await engine.ended(jobId);
    expect(failed.status).toBe('failed');
    await exited(await submit());
    expect(running.get(jobId)).toBe(2);
    expect(exitsOf(jobId)).toEqual([]);
    release.open();
    expect(await exited(jobId)).toMatchObject([{ running: 0, job: { status: 'failed' } }]);
    expect((await engine.jobs.find('alice', jobId))?.cancelReceipt).toBeNull();
  });

  test('is called after the Catalog has the record', async () => {
    const jobId = await submit({ payload: { publish: true } });
    expect(await exited(jobId)).toMatchObject([{ recorded: true, job: { status: 'completed' } }]);
    expect((await events(jobId)).map(({ kind }) => kind).slice(-3)).toEqual([
      'job.finalizing',
      'job.completed',
      'job.exited',
    ]);
  });

  test('that throws is recorded with its reason, not run again, and changes nothing', async () => {
    const jobId = await submit({ payload: { hook: 'throws' } });
    const done = await engine.ended(jobId);
    expect(await exited(jobId)).toHaveLength(1);
    expect((await events(jobId)).at(-1)).toMatchObject({ kind: 'job.exited', reason: 'the hook broke' });
    expect(await engine.jobs.find('alice', jobId)).toEqual(done);
    expect(await pending(jobId)).toBe(false);
  });

  test('holds a retry up, which has an end of its own with a hook of its own', async () => {
    const jobId = await submit({ payload: { permanent: true, hook: 'held' } });
    await eventually(() => expect(exitsOf(jobId)).toHaveLength(1));
    expect(await retry(jobId)).toEqual({ kind: 'exiting', status: 'failed' });
    release.open();
    await exited(jobId);
    expect(await retry(jobId)).toMatchObject({ kind: 'retried', job: { generation: 2 } });
    await engine.ended(jobId);
    expect((await exited(jobId)).map(({ key }) => key)).toEqual([`${jobId}.1`, `${jobId}.2`]);
  });

  test('of a type that no worker has is ended with that reason in the end, and then holds no retry up', async () => {
    const jobId = await submit({ runAt: soon(3_600_000) });
    await sql(`UPDATE jobs SET type = 'test.gone' WHERE id = $1`, jobId);
    await cancel(jobId);
    expect(await retry(jobId)).toEqual({ kind: 'exiting', status: 'canceled' });
    // As if workers had passed it by for two days.
    await sql(
      `UPDATE dispatch SET since = now() - interval '2 days', failures = 3, look_again_at = now() - interval '1 hour'
       WHERE id = $1 AND kind = 'exit'`,
      jobId,
    );
    expect(await exited(jobId)).toEqual([]);
    expect((await events(jobId)).at(-1)).toEqual({
      kind: 'job.exited',
      actor: 'syncer',
      reason: 'No worker had the job type, or its version.',
    });
    expect(await retry(jobId)).toMatchObject({ kind: 'retried', job: { generation: 2 } });
  });

  test('holds retention up', async () => {
    const other = await boot({ RETENTION: '1s', REDIS_PREFIX: `test-${randomUUID()}` });
    const [held, free] = [await submit({ payload: { hook: 'held' } }), await submit()];
    const gone = (jobId: string) =>
      eventually(async () => expect(await engine.jobs.find('alice', jobId)).toBeUndefined());
    await gone(free);
    expect(await engine.jobs.find('alice', held)).toMatchObject({ status: 'completed' });
    release.open();
    await gone(held);
    await other.stop();
    engines = engines.filter((one) => one !== other);
  });
});

describe('feature 30: the exit hook of a job whose worker stops', () => {
  test('is not called for what is only handed back, and a hook that runs is handed on with its key', async () => {
    await engine.stop();
    engines = [];
    engine = await boot();
    const paused = await submit({ payload: { waits: true } });
    const leaving = await submit({ payload: { hook: 'waits' } });
    await eventually(() => {
      expect(running.get(paused)).toBe(1);
      expect(exitsOf(leaving)).toHaveLength(1);
    });
    await engine.stop();
    expect(exitsOf(paused)).toEqual([]);
    expect((await sql(`SELECT status FROM tasks WHERE job_id = $1`, paused))[0]).toEqual({
      status: 'paused',
    });
    expect(await pending(leaving)).toBe(true);
    engines = [];
    engine = await boot();
    await eventually(() => expect(exitsOf(leaving)).toHaveLength(2));
    expect(exitsOf(leaving).map(({ key }) => key)).toEqual([`${leaving}.1`, `${leaving}.1`]);
    await cancel(paused);
    expect(await exited(paused)).toMatchObject([{ job: { status: 'canceled' } }]);
  });

  test('is run again by another one when the turn is lost, and the first one writes nothing', async () => {
    const jobId = await submit({ payload: { hook: 'held' } });
    await eventually(() => expect(exitsOf(jobId)).toHaveLength(1));
    // As if this worker had been frozen for a lease: its turn is over, and is taken anew.
    await sql(`UPDATE dispatch SET look_again_at = now() WHERE id = $1 AND kind = 'exit'`, jobId);
    await eventually(() => expect(exitsOf(jobId)).toHaveLength(2));
    release.open();
    expect((await exited(jobId)).map(({ key }) => key)).toEqual([`${jobId}.1`, `${jobId}.1`]);
    expect((await events(jobId)).filter(({ kind }) => kind === 'job.exited')).toHaveLength(1);
  });
});
