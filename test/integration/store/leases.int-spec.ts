import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { noteStops } from '@app/engine/store/cancel-stops.js';
import { type Lease, renewLeases } from '@app/engine/store/renew-leases.js';
import { saveCheckpoint } from '@app/engine/store/task-progress.js';
import { registerWorker, retireWorker } from '@app/engine/store/worker-records.js';
import { brokenRules } from './invariants.js';
import {
  claimAll,
  endLeases,
  ending,
  finish,
  holding,
  LEASE,
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

const renew = async (...leases: Lease[]) => {
  const answers = await renewLeases(one, WORKER, leases, LEASE);
  return leases.map(({ taskId }) => answers.get(taskId));
};

describe('renewing leases', () => {
  test('moves the end of the lease, also of one that has ended but was taken by nobody', async () => {
    const { tasks } = await running(one, { tasks: 2 });
    await endLeases(one, [tasks[0]!.taskId]);
    expect(await renew(...tasks)).toEqual(['renewed', 'renewed']);
    const { leaseUntil } = await taskRow(one, tasks[0]!.taskId);
    expect(leaseUntil!.getTime()).toBeGreaterThan(Date.now() + LEASE / 2);
  });

  test('tells in one answer what became of each attempt', async () => {
    const [kept, canceled, again, done] = await Promise.all([
      running(one),
      running(one),
      running(one, { tasks: 2 }),
      running(one),
    ]);
    await cancelJob(one, 'alice', canceled.jobId, { actor: 'key:test' });
    await finish(one, ending(again.tasks[0]!, 'retrying'));
    await claimAll(one, [again.tasks[0]!.taskId]);
    await finish(one, ending(done.tasks[0]!));
    const unknown = { taskId: v7(), fence: 1 };
    expect(
      await renew(
        kept.tasks[0]!,
        canceled.tasks[0]!,
        again.tasks[0]!,
        again.tasks[1]!,
        done.tasks[0]!,
        unknown,
      ),
    ).toEqual(['renewed', 'canceled', 'lost', 'renewed', 'lost', 'lost']);
  });

  test('says busy, and waits for nothing, while the row is locked', async () => {
    const { tasks } = await running(one);
    const held = await holding(other, (sql) => endLeases(sql, [tasks[0]!.taskId]));
    expect(await renew(tasks[0]!)).toEqual(['busy']);
    await held.rollBack();
    expect(await renew(tasks[0]!)).toEqual(['renewed']);
  });

  test('tells that siblings of a task that failed fast are to stop', async () => {
    const { tasks } = await running(one, { tasks: 2 });
    await finish(one, ending(tasks[0]!, 'failed'));
    expect(await renew(tasks[1]!)).toEqual(['canceled']);
  });

  test('beats without attempts too, and notes when the worker was seen', async () => {
    await registerWorker(one, {
      id: WORKER,
      host: 'here',
      pid: 1,
      queues: ['default', 'disk'],
      tags: ['disk'],
      slots: 4,
      types: { 'test.type': 1 },
    });
    const before = await one.worker.findUniqueOrThrow({ where: { id: WORKER } });
    expect(await renew()).toEqual([]);
    const after = await one.worker.findUniqueOrThrow({ where: { id: WORKER } });
    expect(after.seenAt.getTime()).toBeGreaterThan(before.seenAt.getTime());
    await retireWorker(one, WORKER);
    expect((await one.worker.findUniqueOrThrow({ where: { id: WORKER } })).stoppedAt).not.toBeNull();
  });
});

describe('a checkpoint', () => {
  test('is given to the next attempt', async () => {
    const { tasks } = await running(one, { tasks: 2 });
    expect(await saveCheckpoint(one, tasks[0]!, { at: 1 })).toBe(true);
    expect(await saveCheckpoint(one, tasks[0]!, { at: 2 })).toBe(true);
    await finish(one, ending(tasks[0]!, 'retrying'));
    const [again] = await claimAll(one, [tasks[0]!.taskId]);
    expect(again!.checkpoint).toEqual({ at: 2 });
  });

  test('is refused from an attempt that no longer holds its task, also when it loses it at that moment', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    await finish(one, ending(tasks[0]!, 'retrying'));
    expect(await saveCheckpoint(one, tasks[0]!, 'late')).toBe(false);
    await claimAll(one, [tasks[0]!.taskId]);
    expect(await saveCheckpoint(one, tasks[0]!, 'stale')).toBe(false);
    await cancelJob(one, 'alice', jobId, { actor: 'key:test' });
    expect(await saveCheckpoint(one, tasks[1]!, 'canceled')).toBe(false);
    expect(await one.taskOutput.count({ where: { taskId: tasks[1]!.taskId } })).toBe(0);
  });
});

const note = (taskId: string, stage: 'delivered' | 'stopped' | 'fenced') => ({
  taskId,
  generation: 1,
  stage,
});

describe('the receipt of a cancel', () => {
  test('keeps the first time of each stage, and counts a stop as delivered', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    await cancelJob(one, 'alice', jobId, { actor: 'key:test' });
    const [first, second] = tasks.map(({ taskId }) => taskId) as [string, string];
    await noteStops(one, [note(first, 'delivered'), note(second, 'stopped'), note(second, 'delivered')]);
    const before = await one.cancelStop.findMany({ where: { jobId }, orderBy: { taskId: 'asc' } });
    expect(
      before.map((stop) => [stop.deliveredAt !== null, stop.stoppedAt !== null, stop.fencedAt !== null]),
    ).toEqual([
      [true, false, false],
      [true, true, false],
    ]);
    await noteStops(one, [
      note(first, 'fenced'),
      note(second, 'stopped'),
      { ...note(first, 'stopped'), generation: 2 },
    ]);
    const after = await one.cancelStop.findMany({ where: { jobId }, orderBy: { taskId: 'asc' } });
    expect(after[0]).toMatchObject({ deliveredAt: before[0]!.deliveredAt, stoppedAt: null });
    expect(after[0]!.fencedAt).not.toBeNull();
    expect(after[1]).toEqual(before[1]);
  });
});
