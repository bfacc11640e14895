import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { claimTasks } from '@app/engine/store/claim-tasks.js';
import { registerWorker } from '@app/engine/store/worker-records.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { FREQUENT, type Work } from './frequent-work.js';
import { schedulesOf } from './schedule-fixture.js';
import { LIFE, newJob, openClient } from './store-fixture.js';

jest.setTimeout(60_000);

/** How many rows of each kind come after the plans were made, and how many a small piece of work may then read. */
const MANY = 5000;
const FEW = 500;

let store: TestDatabase;
let database: Database;
let other: Awaited<ReturnType<typeof openClient>>;

/** Plans are kept as in the service; of its one connection no statement can miss them. */
beforeAll(async () => {
  store = await createTestDatabase();
  other = await openClient(store.url);
  const config = loadConfig({
    SERVICE_TYPE: 'api',
    DATABASE_URL: store.url,
    REDIS_URL: 'redis://127.0.0.1:9',
    CATALOG_URL: 'http://127.0.0.1:9',
  });
  database = await Database.open({ ...config, DATABASE_POOL: 1 }, createLogger('silent'));
  // Statistics that are renewed in the midst of it would hide what a plan is made of.
  await other.client.$executeRaw`
    DO $$ DECLARE t regclass; BEGIN
      FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t);
      END LOOP; END $$`;
  const beats = { host: 'here', pid: 1, tags: [], queues: ['default'], slots: 20, types: { 'test.type': 1 } };
  await registerWorker(other.client, { id: randomUUID(), ...beats });
  for (const each of Object.values(FREQUENT)) for (let n = 0; n < 2; n++) await rowsReadBy(each);
  // A connection that is not used for 10 s is closed, and its plans with it.
  const awake = setInterval(() => void database.main.$queryRaw`SELECT 1`.catch(() => {}), 1000);
  await growBy(MANY).finally(() => clearInterval(awake));
});
afterAll(async () => {
  await database?.onModuleDestroy();
  await other?.close();
  await store?.drop();
});

/** Rows and entries of indexes that a piece of work reads, and pages, for what a filter leaves out is no row that is read. */
async function rowsReadBy({ before, act }: Work): Promise<number> {
  const made = await before?.(other.client);
  const read = async () => {
    // What a connection has counted is told when its transaction after that has ended.
    for (const client of [other.client, database.main]) {
      await client.$queryRaw`SELECT pg_stat_force_next_flush()::text`;
      await client.$queryRaw`SELECT 1`;
    }
    const [row] = await other.client.$queryRaw<{ n: number }[]>`
      SELECT ((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
        + (SELECT sum(idx_blks_read + idx_blks_hit) FROM pg_statio_user_indexes))::int AS n`;
    return row?.n ?? 0;
  };
  const start = await read();
  await act(database.main, made as never);
  return (await read()) - start;
}

/** What may be plentiful in a database that works. */
async function growBy(many: number): Promise<void> {
  const { client } = other;
  const jobs = (over: Parameters<typeof newJob>[0], count = many) =>
    Array.from({ length: count }, () => newJob({ ownerId: 'crowd', direct: 0, ...over }));
  const [held, sent, claimed] = jobs({ tasks: many, resumable: true }, 3) as [NewJob, NewJob, NewJob];
  await acceptJobs(client, [held, sent, claimed], LIFE);
  // None of their rows has ever had a time that is near: old entries of the index would be read with what is due.
  await client.$executeRaw`
    UPDATE dispatch SET gate = NULL, look_again_at = clock_timestamp() + interval '1 hour'
    WHERE job_id IN (${sent.jobId}::uuid, ${claimed.jobId}::uuid)`;
  const members = claimed.units.map(({ taskId }) => ({ taskId, nonce: randomUUID() }));
  await claimTasks(client, members, randomUUID(), 7_200_000);
  const [runAt, expiresAt] = [1, 2].map((hours) => new Date(Date.now() + hours * 3_600_000)) as [Date, Date];
  await acceptJobs(client, [...jobs({ runAt, expiresAt }), ...jobs({ runAt, type: 'test.ended' })], LIFE);
  await client.$executeRaw`
    WITH j AS (
      UPDATE jobs SET status = 'completed', outcome = 'completed', finished_at = now(), tasks_completed = 1, progress = 100, progress_sum = 100
      WHERE type = 'test.ended' RETURNING id
    ), t AS (
      UPDATE tasks SET status = 'completed', progress = 100, finished_at = now() FROM j WHERE job_id = j.id RETURNING tasks.id
    ), o AS (
      INSERT INTO task_outputs (task_id, result) SELECT id, '1' FROM t
    ), c AS (
      INSERT INTO catalog_calls (job_id, generation, idempotency_key, body) SELECT id, 1, id::text, '{}' FROM j
    ), s AS (
      INSERT INTO cancel_stops (job_id, generation, task_id, worker, stopped_at) SELECT id, 1, id, id, now() FROM j
    )
    DELETE FROM dispatch WHERE job_id IN (SELECT id FROM j)`;
  await client.$executeRaw`
    INSERT INTO deliveries (id, kind, owner_id, recipient, event, data, status, look_again_at, ended_at)
    SELECT gen_random_uuid(), 'mail', 'crowd', 'a@b.test', 'job.completed', '{}', 'delivered', NULL, now()
    FROM generate_series(1, ${many})`;
  await client.$executeRaw`
    INSERT INTO webhooks (id, owner_id, url, events, secret)
    SELECT gen_random_uuid(), 'crowd', 'https://hook.test', '{job.completed}', 's' FROM generate_series(1, ${many})`;
  const { scheduleId } = await schedulesOf(client).create({}, 'crowd');
  await client.$executeRaw`
    INSERT INTO schedules SELECT (jsonb_populate_record(s, jsonb_build_object(
      'id', gen_random_uuid(), 'name', n::text, 'next_at', now() + interval '1 hour'))).*
    FROM schedules s, generate_series(1, ${many}) n WHERE s.id = ${scheduleId}::uuid`;
}

describe('by a plan that was made when there was next to nothing', () => {
  test('which is kept, under a name', async () => {
    const [row] = await database.main.$queryRaw<{ kept: number }[]>`
      SELECT count(*)::int AS kept FROM pg_prepared_statements WHERE generic_plans > 1 AND custom_plans = 0`;
    expect(row?.kept).toBeGreaterThan(Object.keys(FREQUENT).length);
  });

  test.each(Object.entries(FREQUENT))(
    '%s reads what it works on, however much else there is now',
    async (_, each) => {
      expect(await rowsReadBy(each)).toBeLessThan(FEW);
    },
  );
});
