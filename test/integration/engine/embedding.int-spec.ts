import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Client } from 'pg';
import { z } from 'zod';
import {
  DuplicateJobError,
  IdempotencyMismatchError,
  InvalidJobError,
  JobType,
  type TaskContext,
  type TaskView,
} from '@app/core';
import type { JoinedTransaction } from '@app/engine/store/joined-transaction.js';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { openClient } from '../store/store-fixture.js';
import { placeOrder } from './embedding-example.js';

jest.setTimeout(60_000);

/** A transaction may be open for so long. */
const LONG_MS = 20_000;

const shipped: number[] = [];

@JobType({ name: 'orders.ship', payload: z.object({ orderId: z.int() }), attempts: 1 })
class Ship {
  async run({ payload }: TaskView<{ orderId: number }>) {
    shipped.push(payload.orderId);
  }
}
@JobType({ name: 'orders.plan', payload: z.any() })
class Plan {
  async *plan() {
    yield { key: 'one', payload: { orderId: -1 } };
  }
  async run(_task: TaskView<unknown>, _ctx: TaskContext) {}
}
@JobType({ name: 'orders.long', payload: z.any() })
class Long {
  async run(_task: TaskView<unknown>, { signal }: TaskContext) {
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }
}
@JobType({ name: 'orders.alone', payload: z.any(), exclusive: true })
class Alone extends Long {}

let database: TestDatabase;
let worker: TestEngine;
let api: TestEngine;
let start: (executes: boolean) => Promise<TestEngine>;
let prisma: PrismaClient;
let close: () => Promise<void>;

beforeAll(async () => {
  database = await createTestDatabase();
  const redis = testRedis();
  start = (executes) =>
    startEngine({
      databaseUrl: database.url,
      redis,
      jobTypes: [Ship, Plan, Long, Alone],
      executes,
      // Only who sends is quick.
      env: { SWEEP_INTERVAL: '1s' },
    });
  [worker, api] = await Promise.all([start(true), start(false)]);
  ({ client: prisma, close } = await openClient(database.url));
  await onDatabase(database.url, (client) =>
    client.query('CREATE TABLE orders (id serial PRIMARY KEY, item text NOT NULL)'),
  );
});
afterAll(async () => {
  await Promise.all([worker?.stop(), api?.stop(), close?.()]);
  await database?.drop();
});

const ship = { type: 'orders.ship', payload: { orderId: 1 } };
const count = async (table: string) =>
  onDatabase(
    database.url,
    async (client) => (await client.query(`SELECT count(*)::int AS n FROM ${table}`)).rows[0].n,
  );
const counts = () => Promise.all(['jobs', 'tasks', 'dispatch', 'job_events', 'dedupe_keys'].map(count));

/** Runs in a transaction that is rolled back in the end, and answers what it has made. */
async function rolledBack<T>(work: (tx: JoinedTransaction) => Promise<T>): Promise<T> {
  let made: { value: T } | undefined;
  await prisma
    .$transaction(
      async (tx) => {
        made = { value: await work(tx) };
        throw new Error('rolled back');
      },
      { timeout: LONG_MS },
    )
    .catch((error: Error) => {
      if (error.message !== 'rolled back') throw error;
    });
  return (made as { value: T }).value;
}

describe('a job submitted in a transaction of the caller', () => {
  test('is there with what else was written, and runs at once when that commits', async () => {
    const { orderId, jobId } = await placeOrder(prisma, api.jobs, 'lamp');
    await eventually(async () => expect((await api.jobs.find('shop', jobId))?.status).toBe('completed'));
    expect(shipped).toContain(orderId);
    expect(await count('orders')).toBe(1);
  });

  test('is the example of the page for applications, word for word', async () => {
    const example = await readFile(new URL('embedding-example.ts', import.meta.url), 'utf8');
    const page = await readFile(new URL('../../../docs/embedding.md', import.meta.url), 'utf8');
    expect(page).toContain(example.slice(example.indexOf('/** Writes an order')).trimEnd());
  });

  test('is not there until the commit, and never when that fails after the submit', async () => {
    const before = await counts();
    const { job } = await rolledBack(async (tx) => {
      const submitted = await api.jobs.submit({ ...ship, dedupeKey: 'k' }, ALICE, {
        tx,
        idempotencyKey: 'i',
      });
      expect(submitted.job).toMatchObject({ status: 'queued', tag: null });
      expect(await api.jobs.find('alice', submitted.job.jobId)).toBeUndefined();
      return submitted;
    });
    expect(await counts()).toEqual(before);
    expect(await api.jobs.find('alice', job.jobId)).toBeUndefined();
    // Its keys are free.
    const again = await api.jobs.submit({ ...ship, dedupeKey: 'k' }, ALICE, { idempotencyKey: 'i' });
    expect(again.replayed).toBe(false);
    await api.ended(again.job.jobId);
  });

  test('with a plan runs too, and one that is scheduled waits for its time', async () => {
    const later = new Date(Date.now() + 3_600_000);
    const [planned, scheduled] = await prisma.$transaction(async (tx) => [
      await api.jobs.submit({ type: 'orders.plan' }, ALICE, { tx }),
      await api.jobs.submit({ ...ship, runAt: later }, ALICE, { tx }),
    ]);
    expect(await api.ended(planned!.job.jobId)).toMatchObject({ status: 'completed', tasks: { total: 1 } });
    expect(await api.jobs.find('alice', scheduled!.job.jobId)).toMatchObject({
      status: 'scheduled',
      runAt: later,
    });
    await api.jobs.cancel('alice', scheduled!.job.jobId, { actor: 'test' });
  });

  test('that is refused leaves the transaction as it was', async () => {
    const { job: open } = await api.jobs.submit({ type: 'orders.alone', dedupeKey: 'd' }, ALICE);
    const keys = await count('dedupe_keys');
    const orders = await count('orders');
    await prisma.$transaction(async (tx) => {
      const submit = (input: object) =>
        api.jobs.submit({ ...ship, ...input }, ALICE, { tx }).then(
          () => undefined,
          (error: unknown) => error,
        );
      expect(await submit({ payload: { orderId: 'x' } })).toBeInstanceOf(InvalidJobError);
      expect(await submit({ type: 'nothing' })).toBeInstanceOf(InvalidJobError);
      expect(await submit({ dedupeKey: 'd' })).toMatchObject({ jobId: open.jobId });
      // The one key is free and the other is not: then neither is taken.
      const duplicate = await submit({ type: 'orders.alone', dedupeKey: 'free' });
      expect(duplicate).toBeInstanceOf(DuplicateJobError);
      expect(duplicate).toMatchObject({ jobId: open.jobId });
      await tx.$executeRaw`INSERT INTO orders (item) VALUES ('chair')`;
    });
    expect(await count('orders')).toBe(orders + 1);
    expect(await count('dedupe_keys')).toBe(keys);
    await api.jobs.cancel('alice', open.jobId, { actor: 'test' });
  });

  test('under an idempotency key that was used gives the earlier job, also one of this transaction', async () => {
    const options = { idempotencyKey: 'twice' };
    const { job: first } = await api.jobs.submit(ship, ALICE, options);
    await prisma.$transaction(async (tx) => {
      expect(await api.jobs.submit(ship, ALICE, { ...options, tx })).toMatchObject({
        job: { jobId: first.jobId },
        replayed: true,
      });
      const other = { ...ship, payload: { orderId: 2 } };
      await expect(api.jobs.submit(other, ALICE, { ...options, tx })).rejects.toBeInstanceOf(
        IdempotencyMismatchError,
      );
      const own = await api.jobs.submit(ship, ALICE, { idempotencyKey: 'own', tx });
      expect(await api.jobs.submit(ship, ALICE, { idempotencyKey: 'own', tx })).toEqual({
        job: own.job,
        replayed: true,
      });
    });
  });

  test('joins a transaction of whatever has $queryRawUnsafe', async () => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      const tx: JoinedTransaction = {
        $queryRawUnsafe: async <T>(query: string, ...values: unknown[]) =>
          (await client.query(query, values)).rows as T,
      };
      await client.query('BEGIN');
      const { job } = await api.jobs.submit(ship, ALICE, { tx });
      // It waits for its turn and for no time.
      const { rows } = await client.query('SELECT gate FROM dispatch WHERE job_id = $1', [job.jobId]);
      expect(rows).toEqual([{ gate: 'held' }]);
      await client.query('COMMIT');
      expect((await api.ended(job.jobId)).status).toBe('completed');
    } finally {
      await client.end();
    }
  });

  test.each([
    ['dedupe key', { dedupeKey: 'held' }, {}],
    ['idempotency key', {}, { idempotencyKey: 'held' }],
    ['exclusive type', { type: 'orders.alone' }, {}],
  ])('whose %s another submit waits for holds up nobody else of the process', async (what, part, key) => {
    // It holds its key until it is canceled.
    const input = { type: 'orders.long', payload: {}, ...part };
    const submit = () =>
      api.jobs.submit(input, ALICE, key).then(
        ({ job, replayed }) => ({ job, replayed }),
        (error: unknown) => error,
      );
    let third: Promise<unknown> = Promise.resolve();
    const inMeantime = async (tx: JoinedTransaction) => {
      const { job } = await api.jobs.submit(input, ALICE, { ...key, tx });
      let over = false;
      third = submit().finally(() => (over = true));
      // What it holds up waits until it gives up, and then it is over.
      for (let nth = 0; nth < 3; nth++) {
        const others = [
          api.jobs.submit(ship, ALICE),
          api.jobs.submit(ship, ALICE, { idempotencyKey: `other-${what}-${job.jobId}-${nth}` }),
          api.jobs.submit({ ...ship, dedupeKey: `other-${what}-${job.jobId}-${nth}` }, ALICE),
        ];
        await Promise.all(others);
      }
      expect(over).toBe(false);
      return job;
    };
    await rolledBack(inMeantime);
    const accepted = (await third) as { job: { jobId: string } };
    expect(accepted).toMatchObject({ job: { status: 'queued' }, replayed: false });
    await api.jobs.cancel('alice', accepted.job.jobId, { actor: 'test' });
    await onDatabase(database.url, (client) => client.query('DELETE FROM idempotency_keys'));

    const held = await prisma.$transaction(inMeantime, { timeout: LONG_MS });
    const { jobId } = held;
    expect(await third).toMatchObject(
      'idempotencyKey' in key ? { job: { jobId }, replayed: true } : { name: 'DuplicateJobError', jobId },
    );
    await api.jobs.cancel('alice', jobId, { actor: 'test' });
  });

  test('runs soon after the commit, however long its transaction was open', async () => {
    const leaving = await start(false);
    const { job } = await prisma.$transaction(
      async (tx) => {
        const submitted = await leaving.jobs.submit(ship, ALICE, { tx });
        // Nobody has to remember it, and its row looks older than what a sweep looks back to.
        await leaving.stop();
        await tx.$executeRaw`
          UPDATE jobs SET created_at = created_at - interval '3 minutes' WHERE id = ${submitted.job.jobId}::uuid`;
        return submitted;
      },
      { timeout: LONG_MS },
    );
    expect((await api.ended(job.jobId, undefined, { timeout: 20_000 })).status).toBe('completed');
  });
});
