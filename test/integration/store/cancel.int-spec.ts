import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { finishTasks } from '@app/engine/store/finish-tasks.js';
import { brokenRules } from './invariants.js';
import {
  blocked,
  claimAll,
  dispatchRows,
  ending,
  finish,
  holding,
  inside,
  jobRow,
  ledger,
  LIFE,
  newJob,
  openStore,
  running,
  type Store,
  taskRows,
  WORKER,
} from './store-fixture.js';

const ROUNDS = 12;

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

const BY = { actor: 'key:test', reason: 'no longer wanted' };
const cancel = (client: PrismaClient, jobId: string) => cancelJob(client, 'alice', jobId, BY);
const statusOf = async (jobId: string) => (await jobRow(one, jobId)).status;

describe('canceling a job', () => {
  test('ends it and its tasks, whatever they are doing, with their fences raised', async () => {
    const { jobId, tasks } = await running(one, { tasks: 5 });
    await finish(
      one,
      ending(tasks[1]!),
      ending(tasks[2]!, 'retrying', { delayMs: 60_000 }),
      ending(tasks[3]!, 'paused'),
    );
    expect(await cancel(one, jobId)).toEqual({ kind: 'canceled', jobId, generation: 1 });
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'canceled',
      outcome: 'canceled',
      version: 4,
      tasksCompleted: 1,
      tasksCanceled: 4,
    });
    expect((await taskRows(one, jobId)).map(({ status, fence }) => `${status} ${fence}`)).toEqual([
      'canceled 2',
      'completed 1',
      'canceled 2',
      'canceled 2',
      'canceled 2',
    ]);
    expect(await dispatchRows(one, jobId)).toEqual([]);
    expect((await ledger(one, jobId)).slice(-2)).toEqual(['job.canceled@4', 'tasks.canceled@4']);
    const stops = await one.cancelStop.findMany({ where: { jobId } });
    expect(stops.map(({ taskId, worker }) => [taskId, worker]).toSorted()).toEqual(
      [tasks[0]!, tasks[4]!].map(({ taskId }) => [taskId, WORKER]).toSorted(),
    );
  });

  test('gives a repeat the first answer and writes nothing more', async () => {
    const { jobId } = await running(one);
    const answers = await Promise.all([cancel(one, jobId), cancel(other, jobId), cancel(one, jobId)]);
    expect(answers.map((answer) => answer!.kind).toSorted()).toEqual(['canceled', 'repeated', 'repeated']);
    const before = [await jobRow(one, jobId), await ledger(one, jobId)];
    expect(await cancel(one, jobId)).toEqual({ kind: 'repeated' });
    expect([await jobRow(one, jobId), await ledger(one, jobId)]).toEqual(before);
    expect(await one.cancellation.count({ where: { jobId } })).toBe(1);
  });

  test('is refused after another end, and knows no job of another owner', async () => {
    const { jobId, tasks } = await running(one);
    expect(await cancelJob(one, 'bob', jobId, BY)).toBeUndefined();
    expect(await cancelJob(one, 'alice', v7(), BY)).toBeUndefined();
    await finish(one, ending(tasks[0]!));
    expect(await cancel(one, jobId)).toEqual({ kind: 'refused', status: 'completed' });
  });

  test('ends a job of which nothing has started, and one that only plans', async () => {
    const [plain, planned] = [newJob({ tasks: 2 }), newJob({ plan: true })];
    await acceptJobs(one, [plain, planned], LIFE);
    for (const { jobId } of [plain, planned]) expect((await cancel(one, jobId))!.kind).toBe('canceled');
    expect(await jobRow(one, plain.jobId)).toMatchObject({ tasksCanceled: 2, startedAt: null });
    expect(await jobRow(one, planned.jobId)).toMatchObject({ tasksTotal: 0, planning: false });
  });

  test('stores a reason that holds what Postgres cannot', async () => {
    const { jobId } = await running(one);
    await cancelJob(one, 'alice', jobId, { actor: 'key:test', reason: 'a\u0000b\ud800' });
    const stored = await one.cancellation.findFirst({ where: { jobId } });
    expect(stored?.reason).toBe('a\uFFFDb\uFFFD');
  });

  test('answers as it ended when a finish of the last task was just before it', async () => {
    const { jobId, tasks } = await running(one);
    const held = await holding(other, (sql) => finishTasks(inside(sql), [ending(tasks[0]!)], 'worker:test'));
    const answer = cancel(one, jobId);
    await blocked(other);
    await held.commit();
    expect(await answer).toEqual({ kind: 'refused', status: 'completed' });
  });
});

describe('a cancel that races', () => {
  test('with finishes leaves one end, the one that each side was told', async () => {
    const ends: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { jobId, tasks } = await running(one, { tasks: 3 });
      const status = round % 2 === 0 ? 'completed' : 'failed';
      const [kinds, answer] = await Promise.all([
        finish(other, ending(tasks[0]!), ending(tasks[1]!), ending(tasks[2]!, status)),
        cancel(one, jobId),
      ]);
      const end = answer!.kind === 'canceled' ? 'canceled' : status;
      expect(await statusOf(jobId)).toBe(end);
      expect(new Set(kinds).size).toBe(1);
      if (end === 'canceled') expect(['stale', 'busy']).toContain(kinds[0]);
      else expect(kinds[0]).toBe('applied');
      ends.push(end);
    }
    expect(ends).toHaveLength(ROUNDS);
  });

  test('with claims leaves no attempt that still holds its task', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const job = newJob({ tasks: 4 });
      await acceptJobs(one, [job], LIFE);
      const ids = job.units.map(({ taskId }) => taskId);
      const [claimed, answer] = await Promise.all([claimAll(other, ids), cancel(one, job.jobId)]);
      expect(answer!.kind).toBe('canceled');
      expect(await one.cancelStop.count({ where: { jobId: job.jobId } })).toBe(claimed.length);
      if (claimed.length === 0) continue;
      expect(new Set(await finish(one, ...claimed.map((task) => ending(task))))).toEqual(new Set(['stale']));
    }
  });

  test('with a plan that adds tasks leaves none of them open', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { jobId, tasks } = await running(one, { plan: true });
      const inputs = Array.from({ length: 20 }, (_, n) => ({ taskId: v7(), key: `k${n}`, payload: null }));
      const options = { actor: 'worker:test' };
      const [added, answer] = await Promise.all([
        addPlannedTasks(other, tasks[0]!, inputs, options),
        cancel(one, jobId),
      ]);
      expect(answer!.kind).toBe('canceled');
      expect((await jobRow(one, jobId)).tasksCanceled).toBe(added ?? 0);
    }
  });
});
