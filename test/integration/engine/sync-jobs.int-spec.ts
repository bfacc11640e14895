import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { type RunningCatalog, startCatalog } from '../../../apps/catalog-sim/src/catalog-server.js';
import { Syncer } from '@app/engine/syncer/syncer.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

jest.setTimeout(60_000);

const Payload = z.object({ forMs: z.int().default(0) }).prefault({});

@JobType({ name: 'test.rest', payload: Payload })
class Rest {
  async run({ payload }: TaskView<z.infer<typeof Payload>>, { signal }: TaskContext) {
    await delay(payload.forMs, undefined, { signal });
  }
}

let catalog: RunningCatalog;
let database: TestDatabase;
let engine: TestEngine;
const boot = (env: Record<string, string> = {}) =>
  startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [Rest],
    env: { CATALOG_URL: catalog.url, CATALOG_TIMEOUT: '2s', ...env },
  });

beforeAll(async () => {
  [catalog, database] = await Promise.all([startCatalog(), createTestDatabase()]);
  engine = await boot();
});
afterAll(async () => {
  await engine?.stop();
  await Promise.all([catalog?.stop(), database?.drop()]);
});

const sql = (text: string, ...values: unknown[]) =>
  onDatabase(database.url, async (client) => (await client.query(text, values)).rows);
const soon = (ms: number) => new Date(Date.now() + ms);
const submit = async (input: object = {}) =>
  (await engine.jobs.submit({ type: 'test.rest', ...input }, ALICE)).job;

describe('a tick of the syncer', () => {
  test('ends a job whose last task was counted nowhere (features 45, 52)', async () => {
    const holder = await submit({ payload: { forMs: 60_000 } });
    await engine.ended(holder.jobId, ['active']);
    await sql(
      `WITH t AS (UPDATE tasks SET status = 'completed', progress = 100, lease_until = NULL, finished_at = now()
         WHERE job_id = $1 RETURNING id)
       DELETE FROM dispatch WHERE id IN (SELECT id FROM t)`,
      holder.jobId,
    );
    expect(await engine.ended(holder.jobId)).toMatchObject({
      status: 'completed',
      progress: 100,
      tasks: { total: 1, completed: 1 },
    });
  });

  test('sends open work that nothing would look at any more (feature 52)', async () => {
    const waiting = await submit({ runAt: new Date(Date.now() + 60_000), numTask: 3 });
    // Queued by hand, and so without a dispatch row for its tasks.
    await sql(`DELETE FROM dispatch WHERE id = $1`, waiting.jobId);
    await sql(`UPDATE jobs SET status = 'queued' WHERE id = $1`, waiting.jobId);
    expect((await engine.ended(waiting.jobId)).status).toBe('completed');
  });

  test('begins and gives up at their time jobs whose time nothing would have looked at (feature 52)', async () => {
    const [due, given] = await Promise.all([
      submit({ runAt: soon(3_600_000) }),
      submit({ runAt: soon(3_600_000), expiresAt: soon(7_200_000) }),
    ]);
    await sql('DELETE FROM dispatch WHERE id = ANY($1)', [due.jobId, given.jobId]);
    await sql(`UPDATE jobs SET run_at = now() + interval '1 second' WHERE id = $1`, due.jobId);
    await sql(`UPDATE jobs SET expires_at = now() + interval '1 second' WHERE id = $1`, given.jobId);
    expect(await engine.ended(due.jobId)).toMatchObject({ status: 'completed' });
    expect(await engine.ended(given.jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'missed_deadline' },
    });
  });

  test('says of an attempt whose worker died before it noted its end that it is fenced', async () => {
    const job = await submit({ payload: { forMs: 60_000 } });
    await engine.ended(job.jobId, ['active']);
    await engine.jobs.cancel(ALICE.ownerId, job.jobId, ALICE);
    await eventually(async () =>
      expect((await engine.jobs.find(ALICE.ownerId, job.jobId))?.cancelReceipt?.state).toBe('stopped'),
    );
    // As that worker would have left it.
    await sql(
      'UPDATE cancel_stops SET stopped_at = NULL, worker = gen_random_uuid() WHERE job_id = $1',
      job.jobId,
    );
    await eventually(async () =>
      expect((await engine.jobs.find(ALICE.ownerId, job.jobId))?.cancelReceipt).toMatchObject({
        state: 'fenced',
        stops: [{ fencedAt: expect.any(Date) }],
      }),
    );
  });

  test('finalizes other jobs while the Catalog hangs on one (features 41, 43)', async () => {
    const hanging = await submit({ catalog: { name: 'hangs' }, runAt: soon(3_600_000) });
    catalog.script({ mode: 'hang', times: 1000, match: { method: 'POST', id: hanging.jobId } });
    // Its time comes.
    await sql('UPDATE jobs SET run_at = now() WHERE id = $1', hanging.jobId);
    await sql('UPDATE dispatch SET look_again_at = now() WHERE id = $1', hanging.jobId);
    await engine.ended(hanging.jobId, ['finalizing']);
    const others = await Promise.all(
      Array.from({ length: 12 }, () => submit({ catalog: { name: 'quick' } })),
    );
    for (const other of others) expect((await engine.ended(other.jobId)).status).toBe('completed');
    expect((await engine.jobs.find('alice', hanging.jobId))?.status).toBe('finalizing');
    catalog.clearFaults();
    expect((await engine.ended(hanging.jobId, undefined, { timeout: 20_000 })).status).toBe('completed');
    expect([...catalog.records().keys()].filter((id) => id === hanging.jobId)).toHaveLength(1);
  });

  test('does not fail jobs while the Catalog is away, and ends all of them when it is back (feature 41)', async () => {
    catalog.script({ mode: 'reset', times: 1_000_000 });
    const jobs = await Promise.all(Array.from({ length: 10 }, () => submit({ catalog: { name: 'later' } })));
    await eventually(async () => {
      const states = await Promise.all(
        jobs.map(async ({ jobId }) => (await engine.jobs.find('alice', jobId))?.status),
      );
      expect(new Set(states)).toEqual(new Set(['finalizing']));
    });
    catalog.clearFaults();
    for (const { jobId } of jobs) {
      expect((await engine.ended(jobId, undefined, { timeout: 20_000 })).status).toBe('completed');
    }
  });

  test('forgets notices that were over long ago, more than one batch of them', async () => {
    await sql(`INSERT INTO deliveries (id, kind, owner_id, recipient, event, data, status, look_again_at, ended_at)
      SELECT gen_random_uuid(), 'mail', 'alice', 'ann@example.com', 'job.failed', '{}', 'delivered', NULL, now() - interval '1 year'
      FROM generate_series(1, 4000)`);
    const syncer = engine.app.get(Syncer);
    // The first may be one that was under way.
    for (let nth = 0; nth < 2; nth++) await syncer.tick(true);
    expect(await sql('SELECT count(*)::int AS count FROM deliveries')).toEqual([{ count: 0 }]);
  });

  test('forgets jobs that ended long ago with all that belongs to them, and no open one (feature 53)', async () => {
    const open = await submit({ payload: { forMs: 60_000 } });
    const { job } = await engine.jobs.submit({ type: 'test.rest', numTask: 5 }, ALICE, {
      idempotencyKey: 'once',
    });
    await engine.ended(job.jobId);
    const forgetful = await boot({ RETENTION: '1s' });
    await eventually(async () => expect(await engine.jobs.find('alice', job.jobId)).toBeUndefined());
    await forgetful.stop();
    const left = await sql(
      `SELECT (SELECT count(*) FROM tasks WHERE job_id = $1)::int + (SELECT count(*) FROM task_inputs WHERE job_id = $1)::int
         + (SELECT count(*) FROM job_events WHERE job_id = $1)::int + (SELECT count(*) FROM dispatch WHERE job_id = $1)::int AS rows`,
      job.jobId,
    );
    expect(left).toEqual([{ rows: 0 }]);
    expect((await engine.jobs.find('alice', open.jobId))?.status).toBe('active');
    await engine.jobs.cancel('alice', open.jobId, { actor: 'test' });
  });
});
