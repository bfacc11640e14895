import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { DuplicateJobError, JobType, PermanentError, type TaskContext, type TaskView } from '@app/core';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

const Payload = z
  .object({
    text: z.string().default('x'),
    fail: z.number().default(0),
    permanent: z.boolean().default(false),
  })
  .prefault({});
type Payload = z.infer<typeof Payload>;
const runs: string[] = [];

@JobType({ name: 'test.echo', payload: Payload, backoff: { kind: 'fixed', base: '10ms', cap: '10ms' } })
class Echo {
  async run(task: TaskView<Payload>, ctx: TaskContext) {
    runs.push(task.taskId);
    ctx.progress(50);
    await delay(5);
    if (task.payload.permanent) throw new PermanentError('never');
    if (task.attempt <= task.payload.fail) throw new Error(`attempt ${task.attempt}`);
    return { text: task.payload.text };
  }
}

/** Attempts that run at this moment, and the most that ever did. */
const load = { now: 0, most: 0 };

class Counting {
  async run() {
    load.now++;
    load.most = Math.max(load.most, load.now);
    // The first wait for as many as there are slots.
    await eventually(() => expect(load.most).toBeGreaterThanOrEqual(engine.config.MAX_CONCURRENT_TASKS));
    await delay(60);
    load.now--;
  }
}

@JobType({ name: 'test.untagged', payload: z.any() })
class Untagged extends Counting {}

@JobType({ name: 'test.tagged', payload: z.any(), tag: 'disk' })
class Tagged extends Counting {}

@JobType({ name: 'test.alone', payload: z.any(), exclusive: true })
class Alone {
  run(_task: TaskView<unknown>, { signal }: TaskContext) {
    return delay(60_000, undefined, { signal });
  }
}

const BOB = { ownerId: 'bob', actor: 'key:bob' };
let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  engine = await startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [Echo, Untagged, Tagged, Alone],
  });
});
afterAll(async () => {
  await engine?.stop();
  await database?.drop();
});

describe('a job', () => {
  test('runs all its tasks and completes (features 6, 7, 12)', async () => {
    const { job } = await engine.jobs.submit({ type: 'test.echo', numTask: 20 }, ALICE);
    expect(job).toMatchObject({ status: 'queued', progress: 0, tasks: { total: 20, completed: 0 } });
    const ended = await engine.ended(job.jobId);
    expect(ended).toMatchObject({ status: 'completed', progress: 100, tasks: { total: 20, completed: 20 } });
    expect(ended.finishedAt).not.toBeNull();
    const tasks = await engine.jobs.tasks('alice', job.jobId, { limit: 100 });
    expect(tasks?.map((task) => task.status)).toEqual(Array(20).fill('completed'));
    expect(tasks?.every((task) => runs.filter((id) => id === task.taskId).length === 1)).toBe(true);
  });

  test('of one task has its result', async () => {
    const { job } = await engine.jobs.submit({ type: 'test.echo', payload: { text: 'hi\u0000' } }, ALICE);
    expect(await engine.ended(job.jobId)).toMatchObject({
      status: 'completed',
      result: { text: 'hi\uFFFD' },
    });
  });

  test('tries a failed task again until it succeeds', async () => {
    const { job } = await engine.jobs.submit({ type: 'test.echo', payload: { fail: 2 } }, ALICE);
    expect(await engine.ended(job.jobId)).toMatchObject({ status: 'completed', error: null });
    expect((await engine.jobs.tasks('alice', job.jobId, { limit: 1 }))?.[0]).toMatchObject({ attempt: 3 });
  });

  test('fails when its attempts are used up, and ends its other tasks', async () => {
    const tasks = [{ payload: { permanent: true } }, ...Array.from({ length: 50 }, () => ({}))];
    const { job } = await engine.jobs.submit({ type: 'test.echo', tasks }, ALICE);
    const ended = await engine.ended(job.jobId);
    expect(ended).toMatchObject({
      status: 'failed',
      error: { code: 'handler_error', message: 'never', attempt: 1 },
    });
    expect(ended.tasks.failed).toBe(1);
    expect(ended.tasks.completed + ended.tasks.canceled).toBe(50);
  });

  test('of an exclusive type is one of 20 that are submitted at once, and the next when it has ended (feature 28)', async () => {
    const submit = (nth: number) =>
      engine.jobs.submit({ type: 'test.alone', payload: nth }, nth % 2 === 0 ? ALICE : BOB);
    const answers = await Promise.allSettled(Array.from({ length: 20 }, (_, nth) => submit(nth)));
    const [accepted] = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.job : []));
    const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
    expect(refused).toHaveLength(19);
    const owners = answers.map((_, nth) => (nth % 2 === 0 ? 'alice' : 'bob'));
    const winner = owners[answers.findIndex(({ status }) => status === 'fulfilled')];
    const told = answers.flatMap((answer, nth) =>
      answer.status === 'rejected' && owners[nth] === winner ? [answer.reason.jobId] : [],
    );
    for (const reason of refused) expect(reason).toBeInstanceOf(DuplicateJobError);
    // Of a job of somebody else no id is told.
    expect(new Set(told)).toEqual(new Set([accepted?.jobId]));
    expect(refused.filter(({ jobId }) => jobId === undefined)).toHaveLength(10);
    for (const { ownerId, actor } of [ALICE, BOB])
      await engine.jobs.cancel(ownerId, accepted?.jobId ?? '', { actor });
    const { job } = await submit(1);
    await engine.jobs.cancel(BOB.ownerId, job.jobId, BOB);
  });

  test('shows when it was created, started and finished, and to whom it belongs (feature 56)', async () => {
    const { job } = await engine.jobs.submit({ type: 'test.echo' }, ALICE);
    const ended = await engine.ended(job.jobId);
    const [task] = (await engine.jobs.tasks('alice', job.jobId, { limit: 1 })) ?? [];
    const times = [ended.createdAt, ended.startedAt, task?.startedAt, task?.finishedAt, ended.finishedAt];
    expect(times.every((time) => time instanceof Date)).toBe(true);
    expect(times.map(Number)).toEqual(times.map(Number).toSorted((a, b) => a - b));
    expect(await engine.jobs.find('bob', job.jobId)).toBeUndefined();
    expect((await engine.jobs.page('alice', { limit: 1 })).jobs[0]?.jobId).toBe(job.jobId);
  });

  test('with the policy continue runs all its tasks before it fails (feature 12)', async () => {
    const tasks = [{ payload: { permanent: true } }, {}, {}, {}, {}];
    const { job } = await engine.jobs.submit({ type: 'test.echo', tasks, failurePolicy: 'continue' }, ALICE);
    expect(await engine.ended(job.jobId)).toMatchObject({
      status: 'failed',
      tasks: { total: 5, completed: 4, failed: 1, canceled: 0 },
      error: { code: 'handler_error', message: 'never' },
    });
  });
});

test('a process never runs more tasks than it may, whatever the number of its queues (feature 9)', async () => {
  const submitted = await Promise.all(
    ['test.untagged', 'test.tagged'].map((type) => engine.jobs.submit({ type, numTask: 30 }, ALICE)),
  );
  for (const { job } of submitted)
    expect((await engine.ended(job.jobId, undefined, { timeout: 20_000 })).status).toBe('completed');
  expect(load).toEqual({ now: 0, most: engine.config.MAX_CONCURRENT_TASKS });
});
