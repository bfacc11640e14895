import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { type JobInput, JobType, type TaskContext, type TaskView } from '@app/core';
import { Metrics } from '@app/platform/observability/metrics.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

// Whoever can write to Redis can send what the service sends. The rows decide what comes of it.

const Payload = z.object({ text: z.string() });
type Payload = z.infer<typeof Payload>;
const ran: string[] = [];

@JobType({ name: 'test.quick', payload: Payload })
class Quick {
  async run({ payload }: TaskView<Payload>) {
    ran.push(payload.text);
    return payload;
  }
}

/** Attempts of held jobs that have begun, and those that were asked to stop. */
const held = { begun: 0, stopped: 0 };
let letGo = new AbortController();

@JobType({ name: 'test.held', payload: z.any(), attempts: 1 })
class Held {
  async run(_task: TaskView<unknown>, { signal }: TaskContext) {
    held.begun++;
    signal.addEventListener('abort', () => held.stopped++);
    const both = AbortSignal.any([signal, letGo.signal]);
    await delay(600_000, undefined, { signal: both }).catch(() => signal.throwIfAborted());
    return 'done';
  }
}

let database: TestDatabase;
let engine: TestEngine;
let redis: Redis;
let queue: Queue;
const ours = testRedis();

beforeAll(async () => {
  database = await createTestDatabase();
  engine = await startEngine({ databaseUrl: database.url, redis: ours, jobTypes: [Quick, Held] });
  redis = new Redis(ours.url, { maxRetriesPerRequest: null });
  queue = new Queue('default', { connection: redis, prefix: ours.prefix });
});
afterAll(async () => {
  await engine?.stop();
  await queue?.close();
  redis?.disconnect();
  await database?.drop();
});

const submit = async (input: JobInput) => (await engine.jobs.submit(input, ALICE)).job.jobId;
/** Claims so far that found nothing to be had. */
async function refusedClaims(): Promise<number> {
  const text = await engine.app.get(Metrics, { strict: false }).text();
  return Number(/^longhaul_claims_total\{result="not-open"\} (\d+)/m.exec(text)?.[1] ?? 0);
}
const rows = () =>
  onDatabase(database.url, async (client) => {
    const { rows: found } = await client.query(
      `SELECT j.id, j.status, j.version, t.status AS task, t.fence FROM jobs j JOIN tasks t ON t.job_id = j.id ORDER BY t.id`,
    );
    return found;
  });
const forge = (jobId: string, data: object = {}) =>
  queue.add('task', data, { jobId, removeOnComplete: true, removeOnFail: true });

describe('input 91: a forged message', () => {
  test('of no task, or of one that has ended, is dropped and counted, and what it says is not looked at', async () => {
    const jobId = await submit({ type: 'test.quick', payload: { text: 'own' } });
    expect((await engine.ended(jobId)).status).toBe('completed');
    const [task] = (await engine.jobs.tasks(ALICE.ownerId, jobId, { limit: 1 }))!;
    const [before, refused] = [await rows(), await refusedClaims()];
    const lies = {
      ownerId: 'mallory',
      type: 'test.quick',
      payload: { text: 'forged' },
      taskId: task!.taskId,
    };
    await forge(`${randomUUID()}.1`, lies);
    await forge(`${task!.taskId}.1`, lies);
    await forge(`${task!.taskId}.2`, lies);
    await eventually(async () => expect(await refusedClaims()).toBeGreaterThanOrEqual(refused + 3));
    expect(await rows()).toEqual(before);
    expect(ran).toEqual(['own']);
  });

  test('that is none harms no task whose message comes with it', async () => {
    const nonsense = [
      'x',
      '..',
      '',
      `${randomUUID()}.x`,
      `${randomUUID()}`,
      `${randomUUID()}.99999999999`,
      "'--.1",
    ];
    const jobs = [];
    for (let round = 0; round < 5; round++) {
      jobs.push(await submit({ type: 'test.quick', payload: { text: `round ${round}` } }));
      for (const id of nonsense) await forge(id === '' ? `.${round}` : `${id}${'~'.repeat(round)}`);
    }
    for (const jobId of jobs) expect((await engine.ended(jobId)).status).toBe('completed');
    await eventually(async () => expect(await queue.getJobCountByTypes('wait', 'active')).toBe(0));
  });
});

describe('input 92: a forged cancel', () => {
  test('of a job that was not canceled stops nothing and changes nothing', async () => {
    held.begun = held.stopped = 0;
    const jobId = await submit({ type: 'test.held', payload: {} });
    await eventually(() => expect(held.begun).toBe(1));
    const before = await rows();
    const cancel = `${ours.prefix}:cancel`;
    for (const message of [{ jobId, generation: 1 }, { jobId }, { jobId: [jobId], generation: 1 }, {}]) {
      expect(await redis.publish(cancel, JSON.stringify(message))).toBe(1);
    }
    for (const junk of ['', 'null', '[', '"x"', 'x'.repeat(100_000)]) await redis.publish(cancel, junk);
    // A true one of another job comes after them.
    const other = await submit({ type: 'test.held', payload: {} });
    await eventually(() => expect(held.begun).toBe(2));
    await engine.jobs.cancel(ALICE.ownerId, other, ALICE);
    await eventually(() => expect(held.stopped).toBe(1));
    expect((await rows()).filter(({ id }) => id === jobId)).toEqual(before.filter(({ id }) => id === jobId));
    letGo.abort();
    expect(await engine.ended(jobId)).toMatchObject({ status: 'completed', cancelReceipt: null });
    letGo = new AbortController();
    expect((await engine.ended(other)).status).toBe('canceled');
  });

  test('that comes before its job does not keep the job from running', async () => {
    held.begun = held.stopped = 0;
    const jobId = await submit({ type: 'test.held', payload: {}, runAt: new Date(Date.now() + 3_600_000) });
    await redis.publish(`${ours.prefix}:cancel`, JSON.stringify({ jobId, generation: 1 }));
    // Its time comes.
    await onDatabase(database.url, async (client) => {
      await client.query('UPDATE jobs SET run_at = now() WHERE id = $1', [jobId]);
      await client.query('UPDATE dispatch SET look_again_at = now() WHERE job_id = $1', [jobId]);
    });
    await eventually(() => expect(held.begun).toBe(1));
    letGo.abort();
    expect((await engine.ended(jobId)).status).toBe('completed');
    expect(held.stopped).toBe(0);
  });
});
