import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { type Job, JobType, type TaskContext, type TaskView } from '@app/core';
import { WorkerIdentity } from '@app/engine/execution/worker-identity.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

jest.setTimeout(90_000);

const Payload = z.object({ forMs: z.int().default(0), group: z.string().optional() }).prefault({});
type Payload = z.infer<typeof Payload>;

/** In milliseconds: as long as nobody ends it. */
const FOREVER = 600_000;

/** Attempts that run at this moment, by the group that they were told. */
const running = new Map<string, number>();
const order: string[] = [];

class Rest {
  async run({ payload: { forMs, group = '' } }: TaskView<Payload>, ctx: TaskContext) {
    running.set(group, (running.get(group) ?? 0) + 1);
    order.push(ctx.job.type);
    await delay(forMs, undefined, { signal: ctx.signal }).finally(() =>
      running.set(group, (running.get(group) ?? 0) - 1),
    );
  }
}

@JobType({ name: 'test.untagged', payload: Payload })
class Untagged extends Rest {}
@JobType({ name: 'test.disk', payload: Payload, tag: 'disk' })
class Disk extends Rest {}
@JobType({ name: 'test.gpu', payload: Payload, tag: 'gpu' })
class Gpu extends Rest {}
@JobType({ name: 'test.tape', payload: Payload, tag: 'tape' })
class Tape extends Rest {}
const TAGGED = ['test.disk', 'test.gpu', 'test.tape'];

let database: TestDatabase;
let redis: ReturnType<typeof testRedis>;
let engines: TestEngine[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  redis = testRedis();
  order.splice(0);
});
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
  await database?.drop();
});

async function start(env: Record<string, string> = {}, executes = true): Promise<TestEngine> {
  const engine = await startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes: [Untagged, Disk, Gpu, Tape],
    executes,
    env: { SHUTDOWN_GRACE: '1s', ...env },
  });
  engines.push(engine);
  return engine;
}
const idOf = (engine: TestEngine) => engine.app.get(WorkerIdentity).id;
const submit = async (engine: TestEngine, type: string, more: object = {}) =>
  (await engine.jobs.submit({ type, ...more }, ALICE)).job;
const workersOf = async (engine: TestEngine, jobs: Job[]) =>
  (await Promise.all(jobs.map((job) => engine.jobs.tasks('alice', job.jobId, { limit: 100 })))).flatMap(
    (tasks) => tasks?.map((task) => task.worker) ?? [],
  );
const completed = async (engine: TestEngine, jobs: Job[]) => {
  for (const job of jobs)
    expect(await engine.ended(job.jobId, undefined, { timeout: 30_000 })).toMatchObject({
      status: 'completed',
    });
};

describe('tags (feature 29)', () => {
  test('a tagged job runs on a holder only, an untagged one on any worker', async () => {
    const plain = await start({ WORKER_TAGS: 'tape' });
    const holder = await start({ WORKER_TAGS: 'disk,gpu' });
    const jobs = await Promise.all(
      Array.from({ length: 20 }, () => submit(plain, 'test.disk', { payload: { forMs: 20 } })),
    );
    await completed(plain, jobs);
    expect(new Set(await workersOf(plain, jobs))).toEqual(new Set([idOf(holder)]));
    // As many as both have slots for.
    const payload = { forMs: FOREVER, group: 'untagged' };
    const untagged = await submit(plain, 'test.untagged', { numTask: 8, payload });
    await eventually(() => expect(running.get('untagged')).toBe(8));
    expect(new Set(await workersOf(plain, [untagged]))).toEqual(new Set([idOf(plain), idOf(holder)]));
    await plain.jobs.cancel('alice', untagged.jobId, { actor: 'test' });
  });

  test('a job whose tag nobody holds waits, and runs when a holder comes', async () => {
    const plain = await start({ WORKER_TAGS: 'tape' });
    const waiting = await submit(plain, 'test.gpu');
    expect(waiting).toMatchObject({ tag: 'gpu' });
    await completed(plain, [await submit(plain, 'test.untagged', { numTask: 20 })]);
    expect(await plain.jobs.find('alice', waiting.jobId)).toMatchObject({ status: 'queued', tag: 'gpu' });
    const holder = await start({ WORKER_TAGS: 'gpu' });
    await completed(plain, [waiting]);
    expect(await workersOf(plain, [waiting])).toEqual([idOf(holder)]);
  });

  test('a job may ask for another tag than its type, if some type declares it', async () => {
    const holder = await start({ WORKER_TAGS: 'gpu' });
    const asked = await submit(holder, 'test.untagged', { tag: 'disk' });
    const moved = await submit(holder, 'test.disk', { tag: 'gpu' });
    expect([asked.tag, moved.tag]).toEqual(['disk', 'gpu']);
    await completed(holder, [moved]);
    expect(await holder.jobs.find('alice', asked.jobId)).toMatchObject({ status: 'queued', tag: 'disk' });
    expect((await holder.jobs.page('alice', { limit: 2 })).jobs.map((job) => job.tag)).toEqual([
      'gpu',
      'disk',
    ]);
    for (const tag of ['moon', 'default', 'Disk']) {
      await expect(submit(holder, 'test.untagged', { tag })).rejects.toMatchObject({
        issues: [{ pointer: '/tag', message: 'No job type declares this tag. Known: disk, gpu, tape.' }],
      });
    }
  });
});

describe('the slots of a process, shared by its queues', () => {
  test('what it has no slot for is run by an idle one at once (feature 9)', async () => {
    const busy = await start({ MAX_CONCURRENT_TASKS: '2' });
    const blockers = await submit(busy, 'test.untagged', {
      numTask: 2,
      payload: { forMs: FOREVER, group: 'busy' },
    });
    await eventually(() => expect(running.get('busy')).toBe(2));
    const jobs = await Promise.all(
      [...TAGGED, 'test.untagged'].map((type) => submit(busy, type, { numTask: 3 })),
    );
    // What the busy one asks for it has asked for by now, and given back.
    const api = await start({}, false);
    await eventually(async () =>
      expect((await busy.jobs.find('alice', blockers.jobId))?.status).toBe('active'),
    );
    const idle = await start({ MAX_CONCURRENT_TASKS: '2' });
    await completed(api, jobs);
    expect(new Set(await workersOf(api, jobs))).toEqual(new Set([idOf(idle)]));
    await api.jobs.cancel('alice', blockers.jobId, { actor: 'test' });
  });

  test('of two processes are all used by as many tasks, however these are spread over the tags', async () => {
    const [one] = await Promise.all([
      start({ MAX_CONCURRENT_TASKS: '2' }),
      start({ MAX_CONCURRENT_TASKS: '3' }),
    ]);
    for (let round = 0; round < 12; round++) {
      const group = `round ${round}`;
      const payload = { forMs: FOREVER, group };
      const jobs = await Promise.all(
        Array.from({ length: 7 }, (_, nth) =>
          submit(one as TestEngine, TAGGED[(nth + round) % 3] ?? '', { payload }),
        ),
      );
      // An idle consumer of BullMQ asks again by itself after 5 s: by then it must have been told to.
      await eventually(() => expect(running.get(group)).toBe(5), { timeout: 4500 });
      await Promise.all(jobs.map((job) => one?.jobs.cancel('alice', job.jobId, { actor: 'test' })));
      await eventually(() => expect(running.get(group)).toBe(0));
    }
  });

  test('go round: no queue waits for another one to be empty', async () => {
    const engine = await start({ MAX_CONCURRENT_TASKS: '1' });
    const jobs = await Promise.all(
      // Longer than a queue that has run dry waits for its next message: each has one to give at every turn.
      TAGGED.map((type) => submit(engine, type, { numTask: 30, payload: { forMs: 40 } })),
    );
    await completed(engine, jobs);
    const middle = order.slice(15, 60);
    for (const type of TAGGED) expect(middle.filter((name) => name === type).length).toBeGreaterThan(9);
  });
});
