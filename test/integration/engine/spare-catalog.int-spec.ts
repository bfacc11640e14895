import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { JobType, type Json, type JobView } from '@app/core';
import { Finalizer } from '@app/engine/syncer/finalizer.js';
import { Syncer } from '@app/engine/syncer/syncer.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

@JobType({ name: 'test.summed', payload: z.any() })
class Summed {
  async run() {}
  async summarize(job: JobView): Promise<Json> {
    return job.jobId;
  }
}

let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  // Nobody listens where the Catalog should be.
  const env = { FINALIZE_LIMIT: '1s' };
  engine = await startEngine({ databaseUrl: database.url, redis: testRedis(), jobTypes: [Summed], env });
});
afterAll(async () => {
  await engine?.stop();
  await database?.drop();
});

const sql = <R>(text: string, ...values: unknown[]) =>
  onDatabase(database.url, async (client) => (await client.query(text, values)).rows as R[]);
/** How many turns were begun, and ended without an end of the job. */
const epochs = async () =>
  (await sql<{ sum: number }>(`SELECT sum(epoch)::int AS sum FROM dispatch WHERE kind = 'finalize'`))[0]!.sum;
const submit = async (input: object) =>
  (await engine.jobs.submit({ type: 'test.summed', ...input }, ALICE)).job.jobId;

test('while the circuit of the Catalog is open no job is taken that waits for it, and others go on (feature 41)', async () => {
  const waiting = await Promise.all(Array.from({ length: 12 }, () => submit({ catalog: { name: 'x' } })));
  const finalizer = engine.app.get(Finalizer);
  await eventually(async () => {
    expect(await sql('SELECT FROM catalog_calls')).toHaveLength(waiting.length);
    expect(finalizer.room).toBe('none');
  });
  const before = await epochs();
  for (let look = 0; look < 30; look++) {
    await sql(`UPDATE dispatch SET look_again_at = now() WHERE kind = 'finalize'`);
    await engine.app.get(Syncer).tick(false);
  }
  // Some turns may have been under way, and one job at a time tries whether the Catalog is back, the less often the
  // longer it is away: not all of them at each look.
  expect((await epochs()) - before).toBeLessThan(5 * waiting.length);
  expect(await engine.ended(await submit({}))).toMatchObject({ status: 'completed' });
});

test('a job that is finalized for longer than FINALIZE_LIMIT is told of once, and goes on being tried', async () => {
  const jobId = await submit({ catalog: { name: 'x' } });
  const kinds = async (id = jobId) =>
    (await sql<{ kind: string }>(`SELECT kind FROM job_events WHERE job_id = $1 ORDER BY version`, id)).map(
      ({ kind }) => kind,
    );
  await eventually(async () => expect((await kinds()).at(-1)).toBe('job.finalize-overdue'));
  // Another one that is told of later shows that there was another look.
  const later = await submit({ catalog: { name: 'y' } });
  await eventually(async () => expect((await kinds(later)).at(-1)).toBe('job.finalize-overdue'));
  expect((await kinds()).filter((kind) => kind === 'job.finalize-overdue')).toHaveLength(1);
  expect((await engine.jobs.find('alice', jobId))?.status).toBe('finalizing');
  expect(await sql(`SELECT FROM dispatch WHERE id = $1 AND kind = 'finalize'`, jobId)).toHaveLength(1);
});
