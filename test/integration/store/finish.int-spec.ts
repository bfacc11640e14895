import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { sqlState } from '@app/platform/prisma/sql-errors.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { finishTasks } from '@app/engine/store/finish-tasks.js';
import { renewLeases } from '@app/engine/store/renew-leases.js';
import { brokenRules } from './invariants.js';
import {
  blocked,
  claimAll,
  dispatchRows,
  endLeases,
  ending,
  finish,
  holding,
  inside,
  jobRow,
  LEASE,
  ledger,
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

const BY = { actor: 'key:test' };
const expired = { expired: true, charged: false } as const;
const lockJob = (jobId: string) =>
  holding(other, (sql) => sql.$queryRaw`SELECT 1 FROM jobs WHERE id = ${jobId}::uuid FOR NO KEY UPDATE`);

describe('finishing attempts', () => {
  test('is applied once; a repeat is mine already and changes nothing', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    const member = ending(tasks[0]!, 'completed', { result: { n: 1 } });
    expect(await finish(one, member)).toEqual(['applied']);
    const [before, events] = [await jobRow(one, jobId), await ledger(one, jobId)];
    expect(before).toMatchObject({ tasksCompleted: 1, progressSum: 100n, progress: 50, version: 3 });
    expect(await finish(one, member)).toEqual(['mine-already']);
    expect(await jobRow(one, jobId)).toEqual(before);
    expect(await ledger(one, jobId)).toEqual(events);
  });

  test('knows a repeat of the write that ended its job', async () => {
    const { tasks } = await running(one);
    expect(await finish(one, ending(tasks[0]!, 'failed'))).toEqual(['applied']);
    expect(await finish(one, ending(tasks[0]!, 'failed'))).toEqual(['mine-already']);
  });

  test('refuses another fence, an attempt that was judged otherwise, and an unknown task as stale', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    await finish(one, ending(tasks[1]!, 'retrying'));
    const [again] = await claimAll(one, [tasks[1]!.taskId]);
    expect(again!.fence).toBe(2);
    const before = await jobRow(one, jobId);
    expect(
      await finish(
        one,
        ending({ ...tasks[0]!, fence: 9 }),
        ending(tasks[1]!),
        ending({ taskId: v7(), fence: 1 }),
      ),
    ).toEqual(['stale', 'stale', 'stale']);
    expect(await jobRow(one, jobId)).toEqual(before);
  });

  test('is stale after a cancel, whatever it brings', async () => {
    const { jobId, tasks } = await running(one, { tasks: 3 });
    await cancelJob(one, 'alice', jobId, BY);
    const before = await jobRow(one, jobId);
    expect(
      await finish(one, ending(tasks[0]!), ending(tasks[1]!, 'failed'), ending(tasks[2]!, 'paused')),
    ).toEqual(['stale', 'stale', 'stale']);
    expect(await jobRow(one, jobId)).toEqual(before);
    expect(await dispatchRows(one, jobId)).toEqual([]);
  });

  test('answers busy for the job that is locked, and applies the rest of the batch', async () => {
    const [locked, free] = [await running(one), await running(one)];
    const held = await lockJob(locked.jobId);
    expect(await finish(one, ending(locked.tasks[0]!), ending(free.tasks[0]!))).toEqual(['busy', 'applied']);
    await held.commit();
    expect(await finish(one, ending(locked.tasks[0]!))).toEqual(['applied']);
    expect((await jobRow(one, locked.jobId)).status).toBe('completed');
  });

  test('waits for a locked job when asked to', async () => {
    const { jobId, tasks } = await running(one);
    const held = await lockJob(jobId);
    const results = finishTasks(one, [ending(tasks[0]!)], 'worker:test', true);
    await blocked(other);
    await held.commit();
    expect((await results).get(tasks[0]!.taskId)).toMatchObject({
      kind: 'applied',
      jobId,
      jobStatus: 'completed',
    });
  });

  test('counts on what a batch has written that it waited for', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    const held = await holding(other, (sql) => finishTasks(inside(sql), [ending(tasks[0]!)], 'worker:test'));
    const results = finishTasks(one, [ending(tasks[1]!)], 'worker:test', true);
    await blocked(other);
    await held.commit();
    expect((await results).get(tasks[1]!.taskId)).toMatchObject({ kind: 'applied', jobStatus: 'completed' });
    expect(await jobRow(one, jobId)).toMatchObject({ tasksCompleted: 2, progress: 100, version: 4 });
  });

  test('gives one version and one set of events to each job of a batch', async () => {
    const [a, b] = [await running(one, { tasks: 4 }), await running(one, { tasks: 4 })];
    const members = [a, b].flatMap(({ tasks }) => [
      ending(tasks[0]!),
      ending(tasks[1]!),
      ending(tasks[2]!, 'retrying'),
    ]);
    expect(new Set(await finish(one, ...members.toReversed()))).toEqual(new Set(['applied']));
    for (const { jobId } of [a, b]) {
      const events = (await ledger(one, jobId)).slice(3).toSorted();
      expect(events).toEqual(['tasks.completed@3', 'tasks.retrying@3']);
      expect(await jobRow(one, jobId)).toMatchObject({ version: 3, tasksCompleted: 2, progressSum: 200n });
    }
  });

  test('writes nothing of a batch whose values are at fault, so that it can be halved', async () => {
    const [good, bad] = [await running(one), await running(one)];
    const members = [ending(good.tasks[0]!), ending(bad.tasks[0]!, 'completed', { result: 'a\u0000b' })];
    expect(await finish(one, ...members).catch(sqlState)).toBe('22P05');
    expect((await taskRow(one, good.tasks[0]!.taskId)).status).toBe('active');
  });
});

describe('giving an attempt back', () => {
  test.each(['retrying', 'paused', 'queued'] as const)(
    'opens the task again as %s, under a new epoch',
    async (status) => {
      const { jobId, tasks } = await running(one);
      const delayMs = 30_000;
      const charged = status === 'retrying';
      expect(await finish(one, ending(tasks[0]!, status, { delayMs, charged }))).toEqual(['applied']);
      expect(await taskRow(one, tasks[0]!.taskId)).toMatchObject({
        status,
        attempt: charged ? 1 : 0,
        leaseUntil: null,
        finishedAt: null,
        crashes: 0,
      });
      const [row] = await dispatchRows(one, jobId);
      expect(row).toMatchObject({ epoch: 2, incarnation: '' });
      const wait = row!.lookAgainAt.getTime() - Date.now();
      expect(wait).toBeGreaterThan(delayMs / 2);
      expect(wait).toBeLessThan(delayMs + 1000);
      expect((await jobRow(one, jobId)).status).toBe('active');
    },
  );

  test('keeps the checkpoint next to the error, and replaces the error by the result', async () => {
    const { tasks } = await running(one, { tasks: 2 });
    const { taskId } = tasks[0]!;
    await one.taskOutput.create({ data: { taskId, checkpoint: { at: 5 } } });
    await finish(one, ending(tasks[0]!, 'retrying'));
    expect(await one.taskOutput.findUnique({ where: { taskId } })).toMatchObject({
      error: { code: 'handler_error' },
      checkpoint: { at: 5 },
    });
    const [again] = await claimAll(one, [taskId]);
    await finish(one, ending(again!, 'completed', { result: 'done' }));
    expect(await one.taskOutput.findUnique({ where: { taskId } })).toMatchObject({
      result: 'done',
      error: null,
    });
  });
});

describe('a lease that has ended', () => {
  test('is taken from a worker only if it has really ended', async () => {
    const { tasks } = await running(one);
    expect(await finish(one, ending(tasks[0]!, 'queued', expired))).toEqual(['stale']);
    await endLeases(one, [tasks[0]!.taskId]);
    expect(await finish(one, ending(tasks[0]!, 'queued', expired))).toEqual(['applied']);
    expect(await taskRow(one, tasks[0]!.taskId)).toMatchObject({ status: 'queued', attempt: 0, crashes: 0 });
  });

  test('is left to a worker whose heartbeat came while the expiry waited for the row', async () => {
    const { tasks } = await running(one);
    await endLeases(one, [tasks[0]!.taskId]);
    const held = await holding(other, (sql) => renewLeases(sql, WORKER, tasks, LEASE));
    const kinds = finish(one, ending(tasks[0]!, 'queued', expired));
    await blocked(other);
    await held.commit();
    expect(['busy', 'stale']).toContain((await kinds)[0]);
    expect(await taskRow(one, tasks[0]!.taskId)).toMatchObject({ status: 'active', crashes: 0 });
  });

  test('makes what its worker brings afterwards stale, before and after the next claim', async () => {
    const { tasks } = await running(one, { tasks: 2 });
    await endLeases(one, [tasks[0]!.taskId]);
    await finish(one, ending(tasks[0]!, 'queued', expired));
    expect(await finish(one, ending(tasks[0]!))).toEqual(['stale']);
    const [again] = await claimAll(one, [tasks[0]!.taskId]);
    expect(await finish(one, ending(tasks[0]!), ending(tasks[1]!))).toEqual(['stale', 'applied']);
    expect(await finish(one, ending(again!))).toEqual(['applied']);
  });
});

const suspicionOf = async (taskId: string) => {
  const { suspect, crashes } = await taskRow(one, taskId);
  return { suspect, crashes };
};

describe('a suspicion', () => {
  test('feature 32: is raised by the death of a worker without a count, and told to the next claim', async () => {
    const { tasks } = await running(one);
    const { taskId } = tasks[0]!;
    await endLeases(one, [taskId]);
    await finish(one, ending(tasks[0]!, 'queued', { ...expired, suspicion: 'raised' }));
    expect(await suspicionOf(taskId)).toEqual({ suspect: true, crashes: 0 });
    const [again] = await claimAll(one, [taskId]);
    expect(again).toMatchObject({ suspect: true, crashes: 0 });
    await finish(one, ending(again!, 'paused'));
    expect(await suspicionOf(taskId)).toEqual({ suspect: true, crashes: 0 });
  });

  test('feature 32: counts a death alone, stays with it, and is cleared by an ordinary end', async () => {
    const { tasks } = await running(one);
    const { taskId } = tasks[0]!;
    await finish(one, ending(tasks[0]!, 'retrying', { suspicion: 'alone' }));
    expect(await suspicionOf(taskId)).toEqual({ suspect: true, crashes: 1 });
    const [again] = await claimAll(one, [taskId]);
    expect(again).toMatchObject({ suspect: true, crashes: 1 });
    await finish(one, ending(again!, 'retrying', { suspicion: 'cleared' }));
    expect(await suspicionOf(taskId)).toEqual({ suspect: false, crashes: 1 });
  });
});
