import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { EngineHealth } from '@app/engine/execution/engine-health.js';
import { Metrics } from '@app/platform/observability/metrics.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { gate } from '../store/store-fixture.js';

const Payload = z.object({ deaf: z.boolean().default(false) }).prefault({});
/** Lets deaf handlers end, in the end of each test. */
let release = gate();

@JobType({ name: 'test.deaf', payload: Payload, cancelGrace: '200ms', attempts: 1 })
class Deaf {
  async run({ payload }: TaskView<z.infer<typeof Payload>>, _ctx: TaskContext) {
    if (payload.deaf) await release.opened;
    return 'late';
  }
}

@JobType({
  name: 'test.slow',
  payload: Payload,
  cancelGrace: '200ms',
  attempts: 2,
  timeout: '150ms',
  backoff: { kind: 'fixed', base: '10ms', cap: '10ms' },
})
class Slow extends Deaf {}

let database: TestDatabase;
let engine: TestEngine | undefined;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  release.open();
  release = gate();
  await engine?.stop();
});
afterAll(() => database?.drop());

const start = async (slots: number) => {
  engine = await startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [Deaf, Slow],
    env: { MAX_CONCURRENT_TASKS: String(slots) },
  });
  return engine;
};

describe('a handler that does not stop', () => {
  test('gives its slot up after the grace, and the receipt says that it was fenced', async () => {
    const { jobs, ended } = await start(1);
    const { job } = await jobs.submit({ type: 'test.deaf', payload: { deaf: true } }, ALICE);
    await ended(job.jobId, ['active']);
    await jobs.cancel('alice', job.jobId, { actor: 'test' });
    await eventually(async () => {
      expect((await jobs.find('alice', job.jobId))?.cancelReceipt?.state).toBe('fenced');
    });
    const { job: next } = await jobs.submit({ type: 'test.deaf' }, ALICE);
    expect((await ended(next.jobId)).status).toBe('completed');
    expect(await jobs.find('alice', job.jobId)).toMatchObject({ status: 'canceled', result: null });
  });

  test('makes its process ask to be replaced when all slots are lost that way', async () => {
    const { app, jobs, ended } = await start(2);
    const reasons: string[] = [];
    app.get(EngineHealth).onStuck((reason) => reasons.push(reason));
    const { job } = await jobs.submit({ type: 'test.deaf', numTask: 2, payload: { deaf: true } }, ALICE);
    await eventually(async () => {
      const tasks = await jobs.tasks('alice', job.jobId, { limit: 2 });
      expect(tasks?.every((task) => task.status === 'active')).toBe(true);
    });
    expect(app.get(EngineHealth).trouble).toBeUndefined();
    await jobs.cancel('alice', job.jobId, { actor: 'test' });
    await ended(job.jobId);
    await eventually(() => expect(reasons).toHaveLength(1));
    expect(app.get(EngineHealth).trouble).toContain('2 handlers do not stop');
  });

  test('is judged by its timeout, and tried again', async () => {
    const { app, jobs, ended } = await start(4);
    const { job } = await jobs.submit({ type: 'test.slow', payload: { deaf: true } }, ALICE);
    expect(await ended(job.jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'timeout', attempt: 2 },
    });
    await eventually(async () => {
      const text = await app.get(Metrics).text();
      expect(text).toMatch(/^longhaul_unstoppable_total 2$/m);
      expect(text).toMatch(/^longhaul_claims_total\{result="claimed"\} 2$/m);
      expect(text).toMatch(/^longhaul_redelivered_total 1$/m);
      expect(text).toMatch(/^longhaul_finishes_total\{status="failed",result="applied"\} 1$/m);
    });
  });
});
