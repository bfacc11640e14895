import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { JobType } from '@app/core';
import { JobRepairs } from '@app/engine/syncer/job-repairs.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { testRedis } from '../../support/redis.js';

@JobType({ name: 'test.later', payload: z.any() })
class Later {
  async run() {}
}

let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  const env = { SYNC_CRON: '0 0 0 1 1 *' };
  engine = await startEngine({ databaseUrl: database.url, redis: testRedis(), jobTypes: [Later], env });
});
afterAll(async () => {
  await engine?.stop();
  await database?.drop();
});

const sql = <R>(text: string, ...values: unknown[]) =>
  onDatabase(database.url, async (client) => (await client.query(text, values)).rows as R[]);

test('a job that cannot be repaired is passed by, and all others are repaired (feature 52)', async () => {
  const runAt = new Date(Date.now() + 3_600_000);
  const ids: string[] = [];
  for (let nth = 0; nth < 9; nth++)
    ids.push((await engine.jobs.submit({ type: 'test.later', runAt }, ALICE)).job.jobId);
  await sql('DELETE FROM dispatch');
  const poison = ids[4]!;
  await sql(
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$`,
  );
  await sql(
    `CREATE TRIGGER poison BEFORE INSERT ON dispatch FOR EACH ROW WHEN (NEW.job_id = '${poison}') EXECUTE FUNCTION refuse()`,
  );
  const repairs = engine.app.get(JobRepairs);
  let failures = 0;
  // Halved from 50 to 1, then single jobs and growing pages on either side of the one that fails.
  for (let tick = 0; tick < 30; tick++) await repairs.run().catch(() => failures++);
  const mended = await sql<{ id: string }>('SELECT job_id AS id FROM dispatch ORDER BY job_id');
  expect(mended.map(({ id }) => id)).toEqual(ids.filter((id) => id !== poison));
  expect(failures).toBeLessThan(30);
  await sql('DROP TRIGGER poison ON dispatch');
  for (let tick = 0; tick < 30; tick++) await repairs.run();
  expect(await sql('SELECT 1 FROM dispatch WHERE job_id = $1', poison)).toHaveLength(1);
});
