import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { Json } from '@app/core';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import type { ClaimedTask } from '@app/engine/store/claim-tasks.js';
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
  ledger,
  openStore,
  running,
  type Store,
  taskRows,
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
const planning = async () => {
  const { jobId, tasks } = await running(one, { plan: true });
  return { jobId, plan: tasks[0]! };
};
const input = (key: string, payload: Json = null) => ({ taskId: v7(), key, payload });
const add = (
  client: PrismaClient,
  plan: ClaimedTask,
  inputs: ReturnType<typeof input>[],
  checkpoint?: Json,
) =>
  addPlannedTasks(client, plan, inputs, {
    actor: 'worker:test',
    ...(checkpoint === undefined ? {} : { checkpoint }),
  });
const keysOf = async (jobId: string) => {
  const rows = await one.taskInput.findMany({
    where: { jobId, position: { gte: 0 } },
    orderBy: { position: 'asc' },
  });
  return rows.map(({ position, key }) => `${position}:${key}`);
};

describe('the tasks that a plan yields', () => {
  test('are added in order, with their dispatch rows, an event and the checkpoint', async () => {
    const { jobId, plan } = await planning();
    const [first, second] = [input('b', { n: 1 }), input('a')];
    const added = await add(one, plan, [first, second], { at: 2 });
    expect(added).toBe(2);
    await add(one, plan, [input('c')]);
    expect(await keysOf(jobId)).toEqual(['0:b', '1:a', '2:c']);
    expect(await jobRow(one, jobId)).toMatchObject({ tasksTotal: 3, version: 4, planning: true });
    expect((await dispatchRows(one, jobId)).map(({ kind }) => kind).toSorted()).toEqual([
      'plan',
      'task',
      'task',
      'task',
    ]);
    expect(await ledger(one, jobId)).toEqual(expect.arrayContaining(['tasks.planned@3', 'tasks.planned@4']));
    expect(await one.taskOutput.findUnique({ where: { taskId: plan.taskId } })).toMatchObject({
      checkpoint: { at: 2 },
    });
    const claimed = await claimAll(one, [first.taskId, second.taskId]);
    expect(claimed.map(({ payload, key }) => ({ payload, key }))).toEqual(
      expect.arrayContaining([
        { payload: { n: 1 }, key: 'b' },
        { payload: null, key: 'a' },
      ]),
    );
  });

  test('are added once when the plan runs again and yields the same keys', async () => {
    const { jobId, plan } = await planning();
    await add(one, plan, [input('a'), input('b')]);
    await finish(one, ending(plan, 'retrying'));
    const [again] = await claimAll(one, [plan.taskId]);
    const added = await add(one, again!, [input('a'), input('x'), input('b'), input('c')]);
    expect(added).toBe(2);
    expect(await keysOf(jobId)).toEqual(['0:a', '1:b', '2:x', '3:c']);
    expect(await add(one, again!, [input('a')])).toBe(0);
    expect((await jobRow(one, jobId)).tasksTotal).toBe(4);
  });

  test('are added once when one batch has a key twice; the first one counts', async () => {
    const { jobId, plan } = await planning();
    await add(one, plan, [input('a', 1), input('b', 2), input('a', 3), input('c', 4)]);
    expect(await keysOf(jobId)).toEqual(['0:a', '1:b', '2:c']);
    expect(await jobRow(one, jobId)).toMatchObject({ tasksTotal: 3 });
    expect(await one.taskInput.findFirst({ where: { jobId, key: 'a' } })).toMatchObject({ payload: 1 });
  });

  test('are not added by a plan that no longer holds its claim', async () => {
    const { jobId, plan } = await planning();
    await endLeases(one, [plan.taskId]);
    await finish(one, ending(plan, 'queued', { expired: true }));
    expect(await add(one, plan, [input('late')], 'late')).toBeUndefined();
    const [again] = await claimAll(one, [plan.taskId]);
    expect(await add(one, plan, [input('late')], 'late')).toBeUndefined();
    expect(again!.checkpoint).toBeNull();
    expect(await keysOf(jobId)).toEqual([]);
    expect(await one.taskOutput.count({ where: { taskId: plan.taskId } })).toBe(0);
  });

  test('are not added to a job that was canceled while the plan waited for it', async () => {
    const { jobId, plan } = await planning();
    const held = await holding(other, (sql) => cancelJob(inside(sql), 'alice', jobId, BY));
    const added = add(one, plan, [input('a')]);
    await blocked(other);
    await held.commit();
    expect(await added).toBeUndefined();
    expect(await taskRows(one, jobId)).toHaveLength(1);
  });

  test('are all ended by a cancel that waited for them', async () => {
    const { jobId, plan } = await planning();
    const held = await holding(other, (sql) => add(inside(sql), plan, [input('a'), input('b')]));
    const canceled = cancelJob(one, 'alice', jobId, BY);
    await blocked(other);
    await held.commit();
    expect(await canceled).toMatchObject({ kind: 'canceled' });
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'canceled',
      tasksTotal: 2,
      tasksCanceled: 2,
      planning: false,
    });
    expect(await dispatchRows(one, jobId)).toEqual([]);
  });

  test('are seen by an attempt of the plan that waited for the batch of an earlier one', async () => {
    const { jobId, plan } = await planning();
    const held = await holding(other, (sql) => add(inside(sql), plan, [input('a'), input('b')]));
    const added = add(one, plan, [input('b'), input('c')]);
    await blocked(other);
    await held.commit();
    expect(await added).toBe(1);
    expect(await keysOf(jobId)).toEqual(['0:a', '1:b', '2:c']);
  });

  test('keep the checkpoint that came before, when a later batch brings none', async () => {
    const { plan } = await planning();
    await add(one, plan, [input('a')], { at: 1 });
    await add(one, plan, [input('b')]);
    await add(one, plan, [], { at: 3 });
    await finish(one, ending(plan, 'paused'));
    const [again] = await claimAll(one, [plan.taskId]);
    expect(again!.checkpoint).toEqual({ at: 3 });
  });
});
