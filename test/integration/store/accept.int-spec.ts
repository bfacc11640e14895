import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { deleteOldKeys } from '@app/engine/store/idempotency-keys.js';
import { retryRaces } from '@app/engine/store/in-transaction.js';
import { sqlState } from '@app/platform/prisma/sql-errors.js';
import { brokenRules } from './invariants.js';
import {
  blocked,
  dispatchRows,
  holding,
  jobRow,
  ledger,
  LIFE,
  newJob,
  openStore,
  type Store,
} from './store-fixture.js';

let store: Store;
let one: PrismaClient;
let other: PrismaClient;

beforeAll(async () => {
  store = await openStore();
  [one, other] = store.clients as [PrismaClient, PrismaClient];
});
afterAll(async () => {
  expect(await brokenRules(one)).toEqual([]);
  await store.close();
});

const keyed = (key: string, bodyHash = 'same', ownerId = 'alice') =>
  newJob({ ownerId, idempotency: { key, bodyHash } });

/** Two keys that read alike when owner and key are put together. */
const pair = () => [keyed('b c', 'same', 'a'), keyed('c', 'same', 'a b')];

/** Lets a key be as old as it is kept, and some more or less. */
const age = (key: string, offset: string) => one.$executeRaw`
  UPDATE idempotency_keys SET created_at = now() - interval '24 hours' - ${offset}::interval WHERE key = ${key}`;

describe('accepting jobs', () => {
  test('writes a job whole: with its tasks, their dispatch rows and its first event', async () => {
    const job = newJob({ tasks: 3 });
    expect(await acceptJobs(one, [job], LIFE)).toMatchObject([{ kind: 'accepted', jobId: job.jobId }]);
    expect(await jobRow(one, job.jobId)).toMatchObject({ status: 'queued', tasksTotal: 3, version: 1 });
    expect(await dispatchRows(one, job.jobId)).toHaveLength(3);
    expect(await ledger(one, job.jobId)).toEqual(['job.queued@1']);
  });

  test('writes nothing of a batch whose values are at fault', async () => {
    const [good, bad] = [keyed('of-a-good-one'), newJob({ payload: { text: '\u0000' } })];
    const refused = await acceptJobs(one, [good, bad], LIFE).catch(sqlState);
    expect(refused).toBe('22P05');
    expect(await one.job.count({ where: { id: { in: [good.jobId, bad.jobId] } } })).toBe(0);
    expect(await one.idempotencyKey.count({ where: { key: 'of-a-good-one' } })).toBe(0);
  });

  test('answers a key that was used before by the same body with the earlier job', async () => {
    const [first, second] = [keyed('twice'), keyed('twice')];
    await acceptJobs(one, [first], LIFE);
    expect(await acceptJobs(one, [second], LIFE)).toMatchObject([{ kind: 'replayed', jobId: first.jobId }]);
    expect(await one.job.count({ where: { id: second.jobId } })).toBe(0);
    expect(await one.task.count({ where: { jobId: second.jobId } })).toBe(0);
  });

  test('refuses a key that was used before by another body', async () => {
    await acceptJobs(one, [keyed('changed')], LIFE);
    expect(await acceptJobs(one, [keyed('changed', 'another')], LIFE)).toEqual([{ kind: 'mismatch' }]);
  });

  test('keeps the keys of owners apart', async () => {
    const jobs = [keyed('shared', 'a', 'alice'), keyed('shared', 'b', 'bob')];
    expect((await acceptJobs(one, jobs, LIFE)).map(({ kind }) => kind)).toEqual(['accepted', 'accepted']);
  });

  test('lets one of two equal keys in one batch win and gives the other its job', async () => {
    const [first, second] = [keyed('in-one-batch'), keyed('in-one-batch')];
    expect(await acceptJobs(one, [first, second], LIFE)).toMatchObject([
      { kind: 'accepted', jobId: first.jobId },
      { kind: 'replayed', jobId: first.jobId },
    ]);
  });

  test('waits for a submit of the same key that is under way, and gets its job', async () => {
    const [first, second] = [keyed('racing'), keyed('racing')];
    const held = await holding(one, (sql) => acceptJobs(sql, [first], LIFE));
    const answer = acceptJobs(other, [second], LIFE);
    await blocked(one);
    await held.commit();
    expect(await answer).toMatchObject([{ kind: 'replayed', jobId: first.jobId }]);
  });

  test('takes the key when the submit that had it before is rolled back', async () => {
    const [first, second] = [keyed('given-up'), keyed('given-up')];
    const held = await holding(one, (sql) => acceptJobs(sql, [first], LIFE));
    const answer = acceptJobs(other, [second], LIFE);
    await blocked(one);
    await held.rollBack();
    expect(await answer).toMatchObject([{ kind: 'accepted', jobId: second.jobId }]);
  });

  test('takes the key when the job that had it is deleted before it is read', async () => {
    const [first, second] = [keyed('forgotten'), keyed('forgotten')];
    await acceptJobs(one, [first], LIFE);
    let asked = 0;
    const meanwhile = new Proxy(one, {
      get: (client, name) =>
        name !== '$queryRaw'
          ? Reflect.get(client, name)
          : async (...statement: Parameters<typeof client.$queryRaw>) => {
              if (++asked === 2)
                await client.$executeRaw`DELETE FROM idempotency_keys WHERE job_id = ${first.jobId}::uuid`;
              return client.$queryRaw(...statement);
            },
    });
    expect(await acceptJobs(meanwhile, [second], LIFE)).toMatchObject([
      { kind: 'accepted', jobId: second.jobId },
    ]);
  });

  test('takes a key that has expired and was not swept yet, in one of two submits that want it', async () => {
    const first = keyed('of-yesterday');
    await acceptJobs(one, [first], LIFE);
    await age('of-yesterday', '-1 minute');
    expect(await acceptJobs(one, [keyed('of-yesterday')], LIFE)).toMatchObject([
      { kind: 'replayed', jobId: first.jobId },
    ]);
    await age('of-yesterday', '1 second');
    const answers = await Promise.all(
      [one, other].map((client) =>
        retryRaces(() => acceptJobs(client, [keyed('of-yesterday', 'another')], LIFE)),
      ),
    );
    expect(
      answers
        .flat()
        .map(({ kind }) => kind)
        .toSorted(),
    ).toEqual(['accepted', 'replayed']);
    expect(await one.job.count({ where: { id: first.jobId } })).toBe(1);
  });

  test('has keys swept that have expired, a few at a time, whatever became of their jobs', async () => {
    const keys = ['swept-1', 'swept-2', 'swept-3', 'kept'];
    await acceptJobs(
      one,
      keys.map((key) => keyed(key)),
      LIFE,
    );
    for (const key of keys.slice(0, 3)) await age(key, '1 second');
    expect(await deleteOldKeys(one, 2)).toBe(2);
    expect(await deleteOldKeys(one, 2)).toBe(1);
    expect(await one.idempotencyKey.count({ where: { key: { in: keys } } })).toBe(1);
  });

  test('accepts each key once and without a deadlock when batches with crossed keys race', async () => {
    const keys = Array.from({ length: 10 }, (_, n) => `crossed-${n}`);
    const races: string[] = [];
    for (let round = 0; round < 15; round++) {
      const batch = (order: string[]) =>
        order.map((key) => keyed(`${key}-${round}`, 'same', `owner ${round % 3}`));
      const [a, b] = [batch(keys), batch(keys.toReversed())];
      const answers = await Promise.all(
        [acceptJobs(one, a, LIFE), acceptJobs(other, b, LIFE)].map((answer) =>
          answer.catch((error: unknown) => void races.push(sqlState(error) ?? 'other')),
        ),
      );
      const kinds = answers.flatMap((answer) => answer ?? []).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(keys.length);
      expect(kinds.filter((kind) => kind === 'replayed')).toHaveLength(keys.length);
    }
    expect(races).toEqual([]);
  });

  test('keeps the order of locks where an owner and a key together read like another pair', async () => {
    // 'a' + 'b c' and 'a b' + 'c' must not be equal in the order that all batches take.
    const [x, y] = pair();
    const forth = await orderOf([x!, y!]);
    const back = await orderOf(pair().toReversed());
    expect(back).toEqual(forth);
  });
});

/** The order in which a batch inserts its keys, as their rows lie in the table. */
async function orderOf(jobs: ReturnType<typeof keyed>[]): Promise<string[]> {
  await one.$executeRaw`DELETE FROM idempotency_keys WHERE owner_id IN ('a', 'a b')`;
  await retryRaces(() =>
    acceptJobs(
      one,
      jobs.map((job) => ({ ...job, jobId: v7() })),
      LIFE,
    ),
  );
  const rows = await one.$queryRaw<{ owner_id: string }[]>`
    SELECT owner_id FROM idempotency_keys WHERE owner_id IN ('a', 'a b') ORDER BY ctid`;
  return rows.map((row) => row.owner_id);
}
