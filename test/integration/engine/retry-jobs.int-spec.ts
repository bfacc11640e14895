import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { JobType, type Json, PermanentError, type TaskContext, type TaskView } from '@app/core';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { testRedis } from '../../support/redis.js';

const Payload = z
  .object({ name: z.string().default('x'), fail: z.int().default(0), permanent: z.boolean().default(false) })
  .prefault({});
type Payload = z.infer<typeof Payload>;
/** How often the work of a name was begun, and how often a retried job is to fail still. */
const runs = new Map<string, number>();
let broken = true;

@JobType({
  name: 'test.flaky',
  payload: Payload,
  attempts: 3,
  backoff: { kind: 'fixed', base: '10ms', cap: '10ms' },
})
class Flaky {
  async run({ payload, attempt }: TaskView<Payload>) {
    runs.set(payload.name, (runs.get(payload.name) ?? 0) + 1);
    if (payload.permanent && broken) throw new PermanentError('broken');
    if (attempt <= payload.fail) throw new Error('again');
    return payload.name;
  }
}

@JobType({
  name: 'test.effect',
  payload: z.object({ account: z.string() }),
  attempts: 3,
  backoff: { kind: 'fixed', base: '10ms', cap: '10ms' },
})
class Effect {
  async run({ payload, attempt }: TaskView<{ account: string }>, ctx: TaskContext) {
    const booked = await ctx.commit('book', async (tx) => {
      await tx.execute('INSERT INTO bookings (account) VALUES ($1)', payload.account);
      const [row] = await tx.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM bookings WHERE account = $1',
        payload.account,
      );
      return row?.n ?? 0;
    });
    // As if the worker had died between the commit and the end of its task.
    if (attempt < 3) throw new Error('after the effect');
    return { booked, attempt };
  }
}

let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  await onDatabase(database.url, (client) => client.query('CREATE TABLE bookings (account text)'));
  engine = await startEngine({ databaseUrl: database.url, redis: testRedis(), jobTypes: [Flaky, Effect] });
});
afterAll(async () => {
  await engine?.stop();
  await database?.drop();
});

const run = async (input: {
  type?: string;
  payload?: Json;
  tasks?: { payload: Json }[];
  attempts?: number;
  failurePolicy?: 'continue';
}) => {
  const { job } = await engine.jobs.submit({ type: 'test.flaky', ...input }, ALICE);
  return engine.ended(job.jobId);
};

describe('a failed attempt', () => {
  test('is followed by others, as many in all as the job says, and then the job fails (feature 20)', async () => {
    const name = randomUUID();
    const ended = await run({ payload: { name, fail: 99 }, attempts: 4 });
    expect(ended).toMatchObject({ status: 'failed', error: { message: 'again', attempt: 4 } });
    expect(runs.get(name)).toBe(4);
    expect(await engine.jobs.tasks('alice', ended.jobId, { limit: 1 })).toMatchObject([
      { attempt: 4, status: 'failed' },
    ]);
  });

  test('leaves no trace when a later one succeeds (feature 20)', async () => {
    const name = randomUUID();
    expect(await run({ payload: { name, fail: 2 } })).toMatchObject({
      status: 'completed',
      error: null,
      result: name,
    });
    expect(runs.get(name)).toBe(3);
  });

  test('that no further one can mend ends the task at once (feature 19)', async () => {
    const name = randomUUID();
    expect(await run({ payload: { name, permanent: true } })).toMatchObject({
      error: { message: 'broken', attempt: 1 },
    });
    expect(runs.get(name)).toBe(1);
  });
});

describe('a retry of a job', () => {
  test('runs only what did not complete, with all attempts anew (feature 50)', async () => {
    broken = true;
    const names = [randomUUID(), randomUUID(), randomUUID()];
    const tasks = names.map((name, at) => ({ payload: { name, permanent: at === 2 } }));
    const failed = await run({ tasks, failurePolicy: 'continue' });
    expect(failed.status).toBe('failed');
    broken = false;
    const retried = await engine.jobs.retry('alice', failed.jobId, { actor: 'test' });
    expect(retried).toMatchObject({ kind: 'retried', job: { generation: 2, error: null, finishedAt: null } });
    const ended = await engine.ended(failed.jobId);
    expect(ended).toMatchObject({
      status: 'completed',
      generation: 2,
      tasks: { completed: 3, failed: 0, canceled: 0 },
    });
    expect(names.map((name) => runs.get(name))).toEqual([1, 1, 2]);
  });

  test('is refused while the job is open or when it is completed (features 50, 51)', async () => {
    const done = await run({});
    expect(await engine.jobs.retry('alice', done.jobId, { actor: 'test' })).toEqual({
      kind: 'refused',
      status: 'completed',
    });
    expect(await engine.jobs.find('alice', done.jobId)).toEqual(done);
    expect(await engine.jobs.retry('bob', done.jobId, { actor: 'test' })).toBeUndefined();
  });

  test('of a canceled job brings it to its end', async () => {
    const { job } = await engine.jobs.submit(
      { type: 'test.flaky', runAt: new Date(Date.now() + 60_000) },
      ALICE,
    );
    await engine.jobs.cancel('alice', job.jobId, { actor: 'test' });
    expect(await engine.jobs.retry('alice', job.jobId, { actor: 'test' })).toMatchObject({ kind: 'retried' });
    expect(await engine.ended(job.jobId)).toMatchObject({
      status: 'completed',
      generation: 2,
      cancelReceipt: null,
    });
  });
});

test('an effect that was committed happens once over all attempts, and gives its result again (features 32, 37)', async () => {
  const account = randomUUID();
  const ended = await run({ type: 'test.effect', payload: { account } });
  expect(ended).toMatchObject({ status: 'completed', result: { booked: 1, attempt: 3 } });
  const { rows } = await onDatabase(database.url, (client) =>
    client.query('SELECT count(*)::int AS n FROM bookings WHERE account = $1', [account]),
  );
  expect(rows).toEqual([{ n: 1 }]);
});
