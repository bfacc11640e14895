import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { Database, type PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { admitTasks, lookAtLeader, lookAtQueues } from '@app/engine/store/admit-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { fenceLostStops, noteStops } from '@app/engine/store/cancel-stops.js';
import { claimTasks } from '@app/engine/store/claim-tasks.js';
import { commitEffect } from '@app/engine/store/commit-effect.js';
import { noticesToDo } from '@app/engine/store/deliveries.js';
import { LOOK_BACK_MS, lookAgain, noteSent, takeDueTasks } from '@app/engine/store/dispatch.js';
import { takeDueExits } from '@app/engine/store/exit-hooks.js';
import { takeDueFinalizations } from '@app/engine/store/finalization.js';
import { finishTasks } from '@app/engine/store/finish-tasks.js';
import { noteLateStarts } from '@app/engine/store/late-starts.js';
import { expandOutbox } from '@app/engine/store/outbox.js';
import { noteOverdueFinalizations } from '@app/engine/store/overdue-finalizations.js';
import { renewLeases } from '@app/engine/store/renew-leases.js';
import { deleteOldJobs } from '@app/engine/store/retention.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { passByStrangeExits } from '@app/engine/store/strange-exits.js';
import { takeDueDeliveries } from '@app/engine/store/take-deliveries.js';
import { reportProgress, saveCheckpoint } from '@app/engine/store/task-progress.js';
import { tickSchedules } from '@app/engine/store/tick-schedules.js';
import {
  failOverdueJobs,
  rescheduleJob,
  startDueJobs,
  takeDueJobs,
  untilNextDue,
} from '@app/engine/store/timed-jobs.js';
import { readRoom } from '@app/engine/store/type-limits.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { firings, schedulesOf } from './schedule-fixture.js';
import { admit, ending, LEASE, LIFE, newJob, openClient, OWNER, running, WORKER } from './store-fixture.js';

jest.setTimeout(60_000);

/** How many rows of each kind come after the plans were made, and how many a small piece of work may then read. */
const MANY = 5000;
const FEW = 500;

/** A piece of work on a connection whose plans were made when there was next to nothing. */
interface Work {
  /** Makes what it works on; not counted. */
  before?: (client: PrismaClient) => Promise<unknown>;
  act: (client: PrismaClient, made: never) => Promise<unknown>;
}

const work = <T>(
  before: (client: PrismaClient) => Promise<T>,
  act: (client: PrismaClient, made: T) => unknown,
) => ({ before, act }) as Work;
const look = (act: (client: PrismaClient) => unknown) => ({ act }) as Work;

const some =
  (over: Parameters<typeof newJob>[0] = {}) =>
  async (client: PrismaClient) => {
    const job = newJob({ tasks: 3, ...over });
    await acceptJobs(client, [job], LIFE);
    return job;
  };
const taken = (client: PrismaClient) => running(client, { tasks: 3 });
const exits = [{ name: 'test.type', version: 1, graceMs: 1000 }];
const ROOM = { limit: 10, perRecipient: 5, perOwner: 5, busy: [], walk: { from: '' } };

const WORKS: Record<string, Work> = {
  'accepting jobs': look((client) =>
    acceptJobs(
      client,
      [newJob({ tasks: 3 }), newJob({ idempotency: { key: randomUUID(), bodyHash: 'x' } })],
      LIFE,
    ),
  ),
  'claiming tasks': work(some(), (client, { units }) =>
    claimTasks(
      client,
      units.map(({ taskId }) => ({ taskId, nonce: randomUUID(), epoch: 1 })),
      WORKER,
      LEASE,
      { 'test.type': 1 },
    ),
  ),
  'finishing tasks': work(taken, (client, { tasks }) =>
    finishTasks(
      client,
      tasks.map((task) => ending(task)),
      'worker:test',
    ),
  ),
  'failing a task': work(taken, (client, { tasks }) =>
    finishTasks(client, [ending(tasks[0]!, 'failed')], 'worker:test'),
  ),
  'renewing leases': work(taken, (client, { tasks }) => renewLeases(client, WORKER, tasks, LEASE)),
  'reporting progress': work(taken, (client, { tasks }) =>
    reportProgress(
      client,
      tasks.map((task) => ({ ...task, percent: 40 })),
    ),
  ),
  'saving a checkpoint': work(taken, (client, { tasks }) => saveCheckpoint(client, tasks[0]!, { at: 1 })),
  'committing an effect': work(taken, (client, { tasks }) =>
    commitEffect(client, tasks[0]!, 'key', async () => 1),
  ),
  'adding planned tasks': work(
    (client) => running(client, { plan: true }),
    (client, { tasks }) =>
      addPlannedTasks(client, tasks[0]!, [{ taskId: randomUUID(), key: randomUUID(), payload: 1 }], {
        actor: 'worker:test',
      }),
  ),
  'canceling a job': work(taken, (client, { jobId }) =>
    cancelJob(client, OWNER, jobId, { actor: 'key:test' }),
  ),
  'retrying a job': work(
    async (client) => {
      const job = await taken(client);
      await cancelJob(client, OWNER, job.jobId, { actor: 'key:test' });
      return job;
    },
    (client, { jobId }) => retryJob(client, OWNER, jobId, { actor: 'key:test' }),
  ),
  'noting stops': work(
    async (client) => {
      const job = await taken(client);
      await cancelJob(client, OWNER, job.jobId, { actor: 'key:test' });
      return job;
    },
    async (client, { tasks }) => {
      await noteStops(
        client,
        tasks.map(({ taskId }) => ({ taskId, generation: 1, stage: 'stopped' as const })),
      );
      await fenceLostStops(client, LEASE);
    },
  ),
  'looking for due tasks': look((client) => takeDueTasks(client, 500, LEASE, LOOK_BACK_MS.short)),
  'noting what was sent': work(some(), async (client, { units }) => {
    const sent = units.map(({ taskId, kind }) => ({ taskId, kind, queue: 'default', epoch: 1 }));
    await noteSent(client, sent, LIFE);
    await lookAgain(client, sent, 60_000);
  }),
  'looking for due jobs': look((client) => takeDueJobs(client, 500, LOOK_BACK_MS.short)),
  'starting a due job': work(
    async (client) => {
      const job = await some({ runAt: new Date(Date.now() + 3_600_000) })(client);
      await client.$executeRaw`UPDATE jobs SET run_at = now() WHERE id = ${job.jobId}::uuid`;
      return job;
    },
    (client, { jobId }) => startDueJobs(client, [jobId]),
  ),
  'moving a job to another time': work(
    some({ runAt: new Date(Date.now() + 3_600_000) }),
    (client, { jobId }) => rescheduleJob(client, OWNER, jobId, new Date(Date.now() + 60_000), 'key:test'),
  ),
  'failing an overdue job': work(
    async (client) => {
      const job = await some({ expiresAt: new Date(Date.now() + 3_600_000) })(client);
      await client.$executeRaw`UPDATE jobs SET expires_at = now() WHERE id = ${job.jobId}::uuid`;
      return job;
    },
    (client, { jobId }) => failOverdueJobs(client, [jobId]),
  ),
  'looking for the next due time': look((client) => untilNextDue(client, 1000)),
  'looking at the queues': look(async (client) => {
    await lookAtLeader(client, WORKER, LEASE);
    await lookAtQueues(client, ['default', 'other'], LEASE);
    await readRoom(client, new Map(), undefined);
  }),
  'admitting tasks': look((client) =>
    admitTasks(client, {
      by: WORKER,
      waiting: new Map([['default', 0]]),
      limits: new Map([['test.type', { concurrency: undefined, rate: undefined, oneByOne: false }]]),
      perOwner: undefined,
      leaseMs: LEASE,
      incarnation: LIFE,
    }),
  ),
  'opening gates': work(some({ direct: 0 }), (client, { units }) =>
    admit(
      client,
      units.map(({ taskId }) => taskId),
    ),
  ),
  'looking for finalizations': look(async (client) => {
    await takeDueFinalizations(client, 10, LEASE, false);
    await noteOverdueFinalizations(client, 86_400_000, 10);
  }),
  'looking for exits': look(async (client) => {
    await takeDueExits(client, exits, 10, LEASE);
    await passByStrangeExits(client, exits, { dueMs: 0, pauseMs: 1000, passes: 3, limitMs: 1000, most: 10 });
  }),
  'looking for notices': look(async (client) => {
    await noticesToDo(client);
    await expandOutbox(client, 100, { rate: 10, windowMs: 1000 });
    await takeDueDeliveries(client, 'mail', ROOM, LEASE);
  }),
  'looking for late starts': look((client) => noteLateStarts(client, 100)),
  'a tick of schedules': work(
    async (client) => {
      const { create } = schedulesOf(client);
      const schedule = await create({ overlap: 'skip' });
      await client.$executeRaw`UPDATE schedules SET next_slot = now(), next_at = now() WHERE name = ${schedule.name}`;
    },
    (client) => tickSchedules(client, firings, { limit: 10 }),
  ),
  'deleting an old job': work(
    async (client) => {
      const job = await taken(client);
      await cancelJob(client, OWNER, job.jobId, { actor: 'key:test' });
      await client.$executeRaw`
        UPDATE jobs SET created_at = '2020-01-01', finished_at = '2020-01-02' WHERE id = ${job.jobId}::uuid`;
    },
    (client) => deleteOldJobs(client, 86_400_000, 10),
  ),
};

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
  for (const each of Object.values(WORKS)) for (let n = 0; n < 2; n++) await rowsReadBy(each);
  await growBy(MANY);
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
  const { scheduleId } = await schedulesOf(client)
    .create({}, 'crowd')
    .then((made) => made as { scheduleId: string });
  await client.$executeRaw`
    INSERT INTO schedules SELECT (jsonb_populate_record(s, jsonb_build_object(
      'id', gen_random_uuid(), 'name', n::text, 'next_at', now() + interval '1 hour'))).*
    FROM schedules s, generate_series(1, ${many}) n WHERE s.id = ${scheduleId}::uuid`;
}

describe('by a plan that was made when there was next to nothing', () => {
  test.each(Object.entries(WORKS))(
    '%s reads what it works on, however much else there is now',
    async (_, each) => {
      expect(await rowsReadBy(each)).toBeLessThan(FEW);
    },
  );
});
