import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { Redis } from '@app/platform/redis/redis.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { gate } from '../store/store-fixture.js';

const Payload = z
  .object({
    how: z.enum(['obeys', 'ignores', 'throws-own', 'returns']).default('obeys'),
  })
  .prefault({});
type Payload = z.infer<typeof Payload>;
const begun: string[] = [];
const aborted: string[] = [];
const ended: string[] = [];
/** Lets what ignores a cancel return. */
let release = gate();

@JobType({ name: 'test.hold', payload: Payload })
class Hold {
  async run({ taskId, payload }: TaskView<Payload>, { signal }: TaskContext) {
    signal.addEventListener('abort', () => aborted.push(taskId));
    begun.push(taskId);
    try {
      await (payload.how === 'ignores' ? release.opened : delay(600_000, undefined, { signal }));
    } catch (error) {
      if (payload.how === 'throws-own') throw new DOMException('my own', 'AbortError');
      if (payload.how === 'obeys') throw error;
    } finally {
      ended.push(taskId);
    }
    return 'late';
  }
}

let database: TestDatabase;
let worker: TestEngine;
let api: TestEngine;
let deafApi: TestEngine;

beforeAll(async () => {
  database = await createTestDatabase();
  const redis = testRedis();
  const options = { databaseUrl: database.url, jobTypes: [Hold] };
  worker = await startEngine({ ...options, redis, env: { MAX_CONCURRENT_TASKS: '20' } });
  api = await startEngine({ ...options, redis, executes: false });
  // Its messages go where nobody listens: sends and cancels are lost, and only the rows tell.
  deafApi = await startEngine({ ...options, redis: testRedis(), executes: false });
});
afterAll(async () => {
  await Promise.all([worker?.stop(), api?.stop(), deafApi?.stop()]);
  await database?.drop();
});

const start = async (engine: TestEngine, payload: object = {}, numTask = 2) => {
  const { job } = await engine.jobs.submit({ type: 'test.hold', payload: payload as never, numTask }, ALICE);
  const tasks = await engine.jobs.tasks('alice', job.jobId, { limit: 100 });
  const taskIds = tasks?.map((task) => task.taskId) ?? [];
  // Active a moment before, it could be canceled without its handler ever being called.
  await eventually(() => expect(begun).toEqual(expect.arrayContaining(taskIds)));
  return { jobId: job.jobId, taskIds };
};
const cancel = async (engine: TestEngine, jobId: string) => {
  const answer = await engine.jobs.cancel('alice', jobId, { actor: 'test' });
  if (answer?.kind !== 'canceled') throw new Error(`The cancel was answered with ${JSON.stringify(answer)}.`);
  return answer.job;
};
const untilStopped = (jobId: string) =>
  eventually(async () => {
    const job = await api.jobs.find('alice', jobId);
    expect(job?.cancelReceipt?.state).toBe('stopped');
    return job;
  });

describe('a cancel', () => {
  test('stops the tasks in another process, and no other job (feature 16)', async () => {
    const other = await start(api);
    const { jobId, taskIds } = await start(api);
    expect(await cancel(api, jobId)).toMatchObject({ status: 'canceled' });
    const job = await untilStopped(jobId);
    expect(aborted).toEqual(expect.arrayContaining(taskIds));
    expect(job?.cancelReceipt?.stops.map((stop) => stop.taskId).toSorted()).toEqual(taskIds.toSorted());
    expect(aborted).not.toEqual(expect.arrayContaining([other.taskIds[0]]));
    expect((await api.jobs.find('alice', other.jobId))?.status).toBe('active');
    await cancel(api, other.jobId);
    await untilStopped(other.jobId);
  });

  test('by an id in capitals is told to the processes by the id that they know', async () => {
    const told: unknown[] = [];
    await api.app.get(Redis).subscribe('cancel', ({ jobId }) => told.push(jobId));
    const { jobId, taskIds } = await start(api);
    await cancel(api, jobId.toUpperCase());
    await untilStopped(jobId);
    expect(aborted).toEqual(expect.arrayContaining(taskIds));
    await eventually(() => expect(told).toEqual([jobId]));
  });

  test('is found by the heartbeat when its message is lost (feature 17)', async () => {
    const { jobId, taskIds } = await start(deafApi);
    await cancel(deafApi, jobId);
    await untilStopped(jobId);
    expect(aborted).toEqual(expect.arrayContaining(taskIds));
  });

  test.each(['throws-own', 'returns'])('ends canceled also when the handler %s (feature 18)', async (how) => {
    const { jobId } = await start(api, { how });
    const canceled = await cancel(api, jobId);
    const job = await untilStopped(jobId);
    expect(job).toMatchObject({ status: 'canceled', error: null, result: null, version: canceled.version });
  });

  test('beats a handler that ignores it: its late result is refused (feature 18)', async () => {
    const { jobId, taskIds } = await start(api, { how: 'ignores' }, 1);
    const canceled = await cancel(api, jobId);
    expect(canceled.cancelReceipt?.state).not.toBe('stopped');
    release.open();
    await eventually(() => expect(ended).toEqual(expect.arrayContaining(taskIds)));
    const job = await untilStopped(jobId);
    expect(job).toMatchObject({ status: 'canceled', result: null, version: canceled.version });
    expect(await api.jobs.tasks('alice', jobId, { limit: 1 })).toMatchObject([
      { status: 'canceled', result: null },
    ]);
  });

  test('keeps a scheduled or waiting task from ever starting (feature 14)', async () => {
    const { job } = await api.jobs.submit({ type: 'test.hold', numTask: 500 }, ALICE);
    await eventually(async () => expect((await api.jobs.find('alice', job.jobId))?.status).toBe('active'));
    const canceled = await cancel(api, job.jobId);
    const answered = new Date();
    expect(canceled.tasks).toMatchObject({ total: 500, canceled: 500 });
    await untilStopped(job.jobId);
    const tasks = (await api.jobs.tasks('alice', job.jobId, { limit: 500 })) ?? [];
    const started = tasks.filter((task) => task.startedAt !== null);
    expect(started.length).toBeLessThanOrEqual(20);
    expect(started.every((task) => (task.startedAt ?? answered) <= answered)).toBe(true);
  });
});
