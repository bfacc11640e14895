import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventEmitter, once } from 'node:events';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { DemoWait } from '../../apps/service/src/job-types/demo-wait.job.js';
import { compileService } from '../support/compile-service.js';
import type { EffectLine } from '../faults/job-types/effects.js';
import { FaultResume } from '../faults/job-types/resume.job.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { type TestRedis, testRedis } from '../support/redis.js';
import { SERVICE, serviceEnvironment, startService, type TestService } from '../support/service.js';
import { changePayload, ledgerOf, sql } from './probe.js';

jest.setTimeout(120_000);
const PATIENCE = { timeout: 40_000 };

/** Executions of the task below, one for each call: the step with which it began. */
const begun: number[] = [];
let atOnce = 0;
let mostAtOnce = 0;

/** How many steps may be taken by now; who wants to take more waits. */
const allowed = { steps: 0, more: new EventEmitter() };
function allow(steps: number): void {
  allowed.steps = steps;
  allowed.more.emit('more');
}

/** Takes 60 steps of which it saves each, and fails once, of itself, at the tenth. */
@JobType({
  name: 'case.steps',
  payload: z.any(),
  attempts: 3,
  resumable: true,
  backoff: { kind: 'fixed', base: '10ms', cap: '10ms' },
})
class Steps {
  async run({ checkpoint, attempt }: TaskView<unknown>, { signal, progress, ...ctx }: TaskContext) {
    const first = typeof checkpoint === 'number' ? checkpoint : 0;
    begun.push(first);
    mostAtOnce = Math.max(mostAtOnce, ++atOnce);
    try {
      for (let step = first; step < 60; step++) {
        while (step >= allowed.steps) await once(allowed.more, 'more', { signal });
        if (step === 10 && attempt === 1) throw new Error('broken once');
        await ctx.checkpoint(step + 1);
        progress(((step + 1) / 60) * 100);
      }
      return { attempt };
    } finally {
      atOnce--;
    }
  }
}

let database: TestDatabase;
let redis: TestRedis;
let folder: string;
let api: TestEngine;
const services: TestService[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-restarts-'));
  const out = join(folder, 'out');
  await compileService(out);
  for (const file of ['resume.job.js', 'effects.js'])
    await copyFile(join(out, 'test/faults/job-types', file), join(out, 'apps/service/src/job-types', file));
  SERVICE.built = [join(out, 'apps/service/src/main.js')];
  database = await createTestDatabase();
  redis = testRedis();
  api = await startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes: [DemoWait, FaultResume, Steps],
    executes: false,
  });
}, 60_000);
afterAll(async () => {
  await Promise.all(services.map((service) => service.stop('SIGKILL')));
  await api?.stop();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

const taskOf = async (jobId: string) => (await api.jobs.tasks('alice', jobId, { limit: 1 }))?.[0];
const countsOf = async (jobId: string) =>
  (
    await sql<{ attempt: number; crashes: number }>(
      database.url,
      'SELECT attempt, crashes FROM tasks WHERE job_id = $1',
      jobId,
    )
  )[0];

const startProcess = async () => {
  const environment = serviceEnvironment(database.url, redis, {
    SERVICE_TYPE: 'task-worker',
    SHUTDOWN_GRACE: '1s',
    LEASE: '15s',
  });
  const service = await startService(environment, 'built');
  services.push(service);
  return service;
};

describe('SIGTERM of a worker (feature 31)', () => {
  test('pauses a resumable task, which another worker goes on with, and interrupts another one at a charge', async () => {
    const effects = join(folder, 'effects.jsonl');
    const stopping = await startProcess();
    const { job: resumable } = await api.jobs.submit(
      { type: 'fault.resume', payload: { marker: 'a', effects, steps: 40, stepMs: 300 } },
      ALICE,
    );
    const wait = { type: 'demo.wait', payload: { durationMs: 60_000, steps: 600 } };
    const { job: once } = await api.jobs.submit({ ...wait, attempts: 1 }, ALICE);
    const { job: twice } = await api.jobs.submit({ ...wait, attempts: 2 }, ALICE);
    await eventually(async () => {
      expect((await taskOf(resumable.jobId))?.progress).toBeGreaterThan(10);
      for (const job of [once, twice]) expect((await taskOf(job.jobId))?.status).toBe('active');
    }, PATIENCE);
    await changePayload(database.url, resumable.jobId, { stepMs: 20 });
    const started = (await api.jobs.find('alice', resumable.jobId))?.startedAt;
    expect(await stopping.stop()).toBe(0);

    const paused = await taskOf(resumable.jobId);
    expect(paused).toMatchObject({ status: 'paused', error: null });
    expect(paused?.progress).toBeGreaterThan(10);
    expect(await countsOf(resumable.jobId)).toEqual({ attempt: 0, crashes: 0 });
    expect(await api.jobs.find('alice', once.jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'interrupted', attempt: 1 },
    });
    expect(await taskOf(twice.jobId)).toMatchObject({
      status: 'retrying',
      attempt: 1,
      error: { code: 'interrupted' },
    });

    await startProcess();
    const seen: number[] = [];
    const done = await eventually(async () => {
      const job = await api.jobs.find('alice', resumable.jobId);
      seen.push(job?.progress ?? 0);
      expect(job?.status).toBe('completed');
      return job;
    }, PATIENCE);
    expect(done?.startedAt).toEqual(started);
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(paused?.progress ?? 100);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(await countsOf(resumable.jobId)).toEqual({ attempt: 1, crashes: 0 });
    await eventually(
      async () => expect(await taskOf(twice.jobId)).toMatchObject({ status: 'active', attempt: 2 }),
      PATIENCE,
    );
    await api.jobs.cancel('alice', twice.jobId, { actor: 'test' });

    // What the handlers themselves have noted: the one had ended before the other began.
    const lines = (await readFile(effects, 'utf8')).trim().split('\n');
    const story = lines.map((line) => JSON.parse(line) as EffectLine);
    expect(story.map((line) => line.what)).toEqual(['started', 'aborted', 'started', 'finished']);
    expect(new Set(story.map((line) => line.pid)).size).toBe(2);
  });
});

test('C66: four rolling restarts neither fail nor cancel a resumable job, and count as no attempt', async () => {
  const start = () =>
    startEngine({
      databaseUrl: database.url,
      redis,
      jobTypes: [Steps],
      env: { SHUTDOWN_GRACE: '100ms', SWEEP_INTERVAL: '20ms', MAX_CONCURRENT_TASKS: '1', LEASE: '15s' },
    });
  await Promise.all(services.map((service) => service.stop()));
  let worker = await start();
  const { job } = await api.jobs.submit({ type: 'case.steps' }, ALICE);
  for (let restart = 1; restart <= 4; restart++) {
    // Past its own failure before the second one, and each time it would wait longer than the grace.
    const before = 11 * restart;
    allow(before);
    await eventually(
      async () =>
        expect((await taskOf(job.jobId))?.progress).toBeGreaterThanOrEqual(Math.floor((before / 60) * 100)),
      PATIENCE,
    );
    const next = await start();
    await worker.stop();
    worker = next;
    expect(await api.jobs.find('alice', job.jobId)).toMatchObject({ status: 'active', error: null });
  }
  allow(60);
  const ended = await api.ended(job.jobId, undefined, PATIENCE);
  // One attempt was its own failure and one its success; the restarts are none.
  expect(ended).toMatchObject({ status: 'completed', result: { attempt: 2 } });
  expect(await countsOf(job.jobId)).toEqual({ attempt: 2, crashes: 0 });
  expect(await ledgerOf(database.url, job.jobId)).toEqual(['queued', 'active', 'completed']);
  expect(begun).toHaveLength(6);
  expect(begun).toEqual(begun.toSorted((a, b) => a - b));
  expect(mostAtOnce).toBe(1);
  await worker.stop();
});
