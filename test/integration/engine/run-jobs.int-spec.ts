import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, PermanentError, type TaskContext, type TaskView } from '@app/core';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
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

let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  engine = await startEngine({ databaseUrl: database.url, redis: testRedis(), jobTypes: [Echo] });
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
});
