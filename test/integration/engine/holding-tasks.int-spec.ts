import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { TaskExecutor } from '@app/engine/execution/task-executor.js';
import { WorkerIdentity } from '@app/engine/execution/worker-identity.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { Proxy } from '../../faults/harness/proxy.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { gate } from '../store/store-fixture.js';

jest.setTimeout(60_000);

const Payload = z
  .object({
    forMs: z.int().default(0),
    held: z.boolean().default(false).describe('until the test lets it go, or it is told to stop'),
    stubborn: z.boolean().default(false),
  })
  .prefault({});
type Payload = z.infer<typeof Payload>;
const runs: string[] = [];
/** Lets held tasks end. */
const letGo = new AbortController();
/** Lets the first attempt of a stubborn task end, however long it has been without its lease. */
const late = gate();

@JobType({ name: 'test.long', payload: Payload, attempts: 3, resumable: true, cancelGrace: '20s' })
class Long {
  async run({ taskId, payload }: TaskView<Payload>, { signal, progress }: TaskContext) {
    const { forMs, held, stubborn } = payload;
    const nth = runs.filter((id) => id === taskId).length;
    runs.push(taskId);
    progress(10 * (nth + 1));
    await delay(forMs, undefined, { signal });
    if (held && !letGo.signal.aborted) await once(letGo.signal, 'abort', { signal });
    if (stubborn && nth === 0) await late.opened;
    return { run: nth };
  }
}

let database: TestDatabase;
let link: Proxy;
let api: TestEngine;
let start: (env?: Record<string, string>, databaseUrl?: string) => Promise<TestEngine>;
const engines: TestEngine[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  link = await Proxy.start(Number(new URL(database.url).port), 'postgres');
  const redis = testRedis();
  start = async (env = {}, databaseUrl = database.url) => {
    const engine = await startEngine({
      databaseUrl,
      redis,
      jobTypes: [Long],
      executes: env['SERVICE_TYPE'] === undefined,
      env: { LEASE: '4s', ...env },
    });
    engines.push(engine);
    return engine;
  };
  api = await start({ SERVICE_TYPE: 'api' });
});
afterAll(async () => {
  late.open();
  await Promise.all(engines.map((engine) => engine.stop()));
  await link?.stop();
  await database?.drop();
});

const submit = async (payload: object = {}) =>
  (await api.jobs.submit({ type: 'test.long', payload: payload as never }, ALICE)).job;
const sql = (text: string, jobId: string) =>
  onDatabase(database.url, async (client) => (await client.query(text, [jobId])).rows);
const taskOf = async (jobId: string) => (await api.jobs.tasks('alice', jobId, { limit: 1 }))?.[0];
const idOf = (engine: TestEngine) => engine.app.get(WorkerIdentity).id;

describe('a worker that beats (feature 33)', () => {
  test('keeps a task beyond the lease of its claim, and nobody takes it for dead', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    const job = await submit({ held: true });
    const held = async () =>
      (await sql('SELECT lease_until AS until, now() AS now FROM tasks WHERE job_id = $1', job.jobId))[0]!;
    const claimed = await eventually(async () => {
      const { until } = await held();
      expect(until).toBeInstanceOf(Date);
      return until;
    });
    await eventually(async () => expect((await held()).now.getTime()).toBeGreaterThan(claimed.getTime()));
    letGo.abort();
    expect(await api.ended(job.jobId, undefined, { timeout: 20_000 })).toMatchObject({
      status: 'completed',
      result: { run: 0 },
    });
    const rows = await sql(
      'SELECT fence, attempt, crashes, worker::text FROM tasks WHERE job_id = $1',
      job.jobId,
    );
    expect(rows).toEqual([{ fence: 1, attempt: 1, crashes: 0, worker: expect.any(String) }]);
    expect([idOf(one), idOf(other)]).toContain(rows[0].worker);
    await Promise.all([one.stop(), other.stop()]);
  });

  test('and has lost its lease overwrites nothing of the one that has it', async () => {
    const behind = new URL(database.url);
    behind.port = String(link.port);
    // One slot: it takes no message of which it cannot say that it has it.
    const cutOff = await start({ MAX_CONCURRENT_TASKS: '1' }, behind.href);
    const job = await submit({ stubborn: true });
    await eventually(async () => expect((await taskOf(job.jobId))?.progress).toBe(10));
    link.partition();
    // Its heart seems to beat: else its task were a suspect, and would run in a process where nobody sees it here.
    await onDatabase(database.url, (client) =>
      client.query(`UPDATE workers SET seen_at = now() + interval '1 hour' WHERE id = $1`, [idOf(cutOff)]),
    );
    const heir = await start();
    const ended = await api.ended(job.jobId, undefined, { timeout: 20_000 });
    expect(ended).toMatchObject({ status: 'completed', result: { run: 1 } });
    const task = await taskOf(job.jobId);
    expect(task).toMatchObject({ status: 'completed', worker: idOf(heir), attempt: 1 });
    link.heal();
    late.open();
    // What it brings, and all that it would still write, has had its turn when it has stopped.
    await cutOff.stop();
    expect(await api.jobs.find('alice', job.jobId)).toEqual(ended);
    expect(await taskOf(job.jobId)).toEqual(task);
    await heir.stop();
  });
});

describe('one task before many workers (feature 48)', () => {
  test('is run by one of them, and when its job has ended by none', async () => {
    const workers = await Promise.all([start(), start(), start(), start()]);
    const everybody = (taskId: string) =>
      Promise.all(
        workers.flatMap((worker) =>
          [1, 2].map(() => worker.app.get(TaskExecutor).execute({ taskId, epoch: 1 })),
        ),
      );
    for (let round = 0; round < 10; round++) {
      const job = await submit({ forMs: 20 });
      const taskId = (await taskOf(job.jobId))?.taskId ?? '';
      await everybody(taskId);
      expect((await api.ended(job.jobId)).status).toBe('completed');
      expect(runs.filter((id) => id === taskId)).toHaveLength(1);
    }
    const runAt = new Date(Date.now() + 3_600_000);
    const { job: canceled } = await api.jobs.submit({ type: 'test.long', runAt }, ALICE);
    await api.jobs.cancel('alice', canceled.jobId, { actor: 'test' });
    const task = await taskOf(canceled.jobId);
    await everybody(task?.taskId ?? '');
    expect(runs).not.toContain(task?.taskId);
    expect(await taskOf(canceled.jobId)).toEqual(task);
  });
});
