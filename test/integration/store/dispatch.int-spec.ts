import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { claimTasks } from '@app/engine/store/claim-tasks.js';
import {
  type Delivery,
  LOOK_BACK_MS,
  lookAgain,
  noteSent,
  recallLost,
  takeDueTasks,
} from '@app/engine/store/dispatch.js';
import { takeDueJobs } from '@app/engine/store/timed-jobs.js';
import { registerWorker } from '@app/engine/store/worker-records.js';
import { brokenRules } from './invariants.js';
import {
  claimAll,
  dispatchRows,
  endLeases,
  ending,
  finish,
  holding,
  LEASE,
  LIFE,
  makeDue,
  newJob,
  openStore,
  running,
  type Store,
  taskRow,
  WORKER,
} from './store-fixture.js';

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

const waiting = async (over: Parameters<typeof newJob>[0] = {}, life = LIFE) => {
  const job = newJob(over);
  await acceptJobs(one, [job], life);
  return { jobId: job.jobId, ids: job.units.map(({ taskId }) => taskId) };
};
/** Takes what is due of one job; what other tests left behind is taken along. */
const take = async (client: PrismaClient, jobId: string, leaseMs = 0) =>
  (await takeDueTasks(client, 500, leaseMs)).filter((task) => task.jobId === jobId);
const dueIn = async (jobId: string) =>
  (await dispatchRows(one, jobId))[0]!.lookAgainAt.getTime() - Date.now();

describe('what is due', () => {
  test('is taken by one of those who look, and not again until its time', async () => {
    const { jobId } = await waiting({ tasks: 6 });
    await one.$executeRaw`
      UPDATE dispatch SET look_again_at = look_again_at + interval '1 hour' WHERE job_id = ${jobId}::uuid`;
    expect(await take(one, jobId)).toEqual([]);
    await makeDue(one, jobId);
    const before = Date.now();
    const taken = (await Promise.all([take(one, jobId), take(other, jobId), take(one, jobId)])).flat();
    expect(taken.map(({ taskId }) => taskId).toSorted()).toHaveLength(6);
    expect(new Set(taken.map(({ taskId }) => taskId)).size).toBe(6);
    // Whoever has taken them has 5 s.
    expect(await take(one, jobId)).toEqual([]);
    const [row] = await dispatchRows(one, jobId);
    expect(row!.lookAgainAt.getTime()).toBeGreaterThan(before + 1000);
  });

  test('is held until it is admitted when it was not sent, and sent again when it was', async () => {
    const [unsent, sent] = [await waiting({}, ''), await waiting()];
    await makeDue(one, unsent.jobId);
    await makeDue(one, sent.jobId);
    const due = await takeDueTasks(one, 500, 0);
    const heldOf = (jobId: string) => due.filter((task) => task.jobId === jobId).map(({ held }) => held);
    expect([heldOf(unsent.jobId), heldOf(sent.jobId)]).toEqual([[true], [false]]);
    const members = unsent.ids.map((taskId) => ({ taskId, nonce: randomUUID() }));
    expect([...(await claimTasks(one, members, WORKER, LEASE)).values()]).toEqual([{ kind: 'not-open' }]);
    expect(await claimAll(one, unsent.ids)).toHaveLength(1);
  });

  test('is no attempt whose lease runs: it is looked at again when that ends', async () => {
    const { jobId, tasks } = await running(one);
    await makeDue(one, jobId);
    expect(await take(one, jobId)).toEqual([]);
    const [row] = await dispatchRows(one, jobId);
    expect(row!.lookAgainAt).toEqual((await taskRow(one, tasks[0]!.taskId)).leaseUntil);
  });

  test('is an attempt whose lease has ended, with what is needed to judge it', async () => {
    const { jobId, tasks } = await running(one, { resumable: true, maxAttempts: 7 });
    await endLeases(one, [tasks[0]!.taskId]);
    await makeDue(one, jobId);
    expect(await take(one, jobId)).toMatchObject([
      { leaseEnded: true, fence: 1, attempt: 1, maxAttempts: 7, resumable: true, generation: 1 },
    ]);
  });

  test.each([
    ['beats', `seen_at = clock_timestamp() + interval '1 minute'`, false],
    ['has missed its heartbeat for a lease', `seen_at = clock_timestamp() - interval '1.1 s'`, true],
    ['has stopped', 'stopped_at = clock_timestamp()', true],
    ['is unknown', undefined, true],
  ])(
    'feature 32: is an attempt whose worker %s, and tells whether it is dead',
    async (_what, state, dead) => {
      const [job, worker] = [newJob(), randomUUID()];
      await acceptJobs(one, [job], LIFE);
      const ids = job.units.map(({ taskId }) => taskId);
      await claimAll(one, ids, worker);
      if (state !== undefined) {
        await registerWorker(one, {
          id: worker,
          host: 'here',
          pid: 1,
          queues: [],
          tags: [],
          slots: 0,
          types: {},
        });
        await one.$executeRawUnsafe(`UPDATE workers SET ${state} WHERE id = '${worker}'`);
      }
      await endLeases(one, ids);
      await makeDue(one, job.jobId);
      expect(await take(one, job.jobId, 1000)).toMatchObject([{ leaseEnded: true, workerDead: dead }]);
    },
  );

  test('is no attempt whose lease ended when Postgres had not been up for a whole lease', async () => {
    const { jobId, tasks } = await running(one);
    await endLeases(one, [tasks[0]!.taskId]);
    await makeDue(one, jobId);
    const day = 24 * 3600 * 1000;
    expect(await take(one, jobId, day)).toEqual([]);
    expect(await dueIn(jobId)).toBeGreaterThan(1000);
    await makeDue(one, jobId);
    expect(await take(one, jobId)).toMatchObject([{ leaseEnded: true }]);
  });

  test('is no task that waits for its next attempt, until then', async () => {
    const { jobId, tasks } = await running(one);
    await finish(one, ending(tasks[0]!, 'retrying', { delayMs: 20_000 }));
    expect(await take(one, jobId)).toEqual([]);
    await makeDue(one, jobId);
    expect(await take(one, jobId)).toMatchObject([{ epoch: 2, status: 'retrying', leaseEnded: false }]);
  });

  test('passes by what a claim holds at that moment', async () => {
    const { jobId, ids } = await waiting();
    await makeDue(one, jobId);
    const held = await holding(other, (sql) => claimAll(sql, ids));
    expect(await take(one, jobId)).toEqual([]);
    await held.commit();
    expect(await dueIn(jobId)).toBeGreaterThan(LEASE / 2);
  });
});

describe('noting what was sent', () => {
  test('leaves a row alone that a claim has moved since it was taken', async () => {
    const { jobId, ids } = await waiting();
    await makeDue(one, jobId);
    const taken = await take(one, jobId);
    await claimTasks(one, [{ taskId: ids[0]!, nonce: jobId }], WORKER, 20_000);
    await noteSent(one, taken, 'redis-2');
    await lookAgain(one, taken, 0);
    // A minute later if it counted as sent.
    expect(await dueIn(jobId)).toBeLessThan(21_000);
    expect(await dispatchRows(one, jobId)).toMatchObject([{ incarnation: LIFE }]);
    expect(await take(one, jobId)).toEqual([]);
  });

  test('looks back as far as it is told, for tasks and for jobs', async () => {
    const { jobId } = await waiting();
    const timed = { ...newJob(), runAt: new Date(Date.now() + 3_600_000) };
    await acceptJobs(one, [timed], LIFE);
    await one.$executeRaw`
      UPDATE dispatch SET look_again_at = now() - interval '2 minutes'
      WHERE job_id IN (${jobId}::uuid, ${timed.jobId}::uuid)`;
    const ids = async (backMs?: number) =>
      [...(await takeDueTasks(one, 500, 0, backMs)), ...(await takeDueJobs(one, 500, backMs))].map(
        (due) => due.jobId,
      );
    expect(await ids(LOOK_BACK_MS.short)).toEqual(expect.not.arrayContaining([jobId, timed.jobId]));
    expect(await ids()).toEqual(expect.arrayContaining([jobId, timed.jobId]));
  });

  test('leaves a row alone that has a new epoch', async () => {
    const { jobId, tasks } = await running(one);
    const stale: Delivery = { taskId: tasks[0]!.taskId, kind: 'task', queue: 'default', epoch: 1 };
    await finish(one, ending(tasks[0]!, 'paused', { delayMs: 100 }));
    await noteSent(one, [stale], 'redis-2');
    expect(await dispatchRows(one, jobId)).toMatchObject([{ epoch: 2, incarnation: '' }]);
    expect(await dueIn(jobId)).toBeLessThan(1000);
  });

  test('lets what led to no claim be sent again much later, or soon where the send failed', async () => {
    const [sent, failed] = [await waiting({ tasks: 2 }), await waiting()];
    await makeDue(one, sent.jobId);
    await makeDue(one, failed.jobId);
    const taken = await takeDueTasks(one, 500, 0);
    const of = (jobId: string) => taken.filter((task) => task.jobId === jobId);
    await noteSent(one, of(sent.jobId), 'redis-2');
    await lookAgain(one, of(failed.jobId), 500);
    expect(await dueIn(sent.jobId)).toBeGreaterThan(30_000);
    expect(await dispatchRows(one, sent.jobId)).toMatchObject([
      { incarnation: 'redis-2' },
      { incarnation: 'redis-2' },
    ]);
    expect(await dueIn(failed.jobId)).toBeLessThan(600);
    expect(await dispatchRows(one, failed.jobId)).toMatchObject([{ incarnation: '' }]);
  });
});

describe('another life of Redis', () => {
  test('makes due what was sent to the one before, once, and leaves leases alone', async () => {
    const open = await waiting({ tasks: 2 }, 'redis-old');
    const sent = await waiting();
    const held = await running(one);
    await one.$executeRaw`UPDATE dispatch SET incarnation = 'redis-old' WHERE job_id = ${held.jobId}::uuid`;
    expect(await recallLost(one, LIFE)).toBeGreaterThanOrEqual(2);
    expect(await recallLost(one, LIFE)).toBe(0);
    const taken = await takeDueTasks(one, 500, 0);
    expect(taken.filter((task) => task.jobId === open.jobId).map(({ epoch }) => epoch)).toEqual([1, 1]);
    expect(taken.filter((task) => task.jobId === held.jobId)).toEqual([]);
    expect(await dueIn(held.jobId)).toBeGreaterThan(LEASE / 2);
    expect(await dispatchRows(one, sent.jobId)).toMatchObject([{ incarnation: LIFE, epoch: 1 }]);
  });
});
