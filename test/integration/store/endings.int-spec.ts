import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { v7 } from 'uuid';
import { brokenRules } from './invariants.js';
import {
  claimAll,
  dispatchRows,
  ending,
  failure,
  finish,
  jobRow,
  ledger,
  LIFE,
  openStore,
  running,
  type Store,
  taskRows,
} from './store-fixture.js';

let store: Store;
let one: PrismaClient;

beforeAll(async () => {
  store = await openStore(1);
  [one] = store.clients as [PrismaClient];
});
afterAll(async () => {
  expect(await brokenRules(one)).toEqual([]);
  await store.close();
});

/** A job whose plan has yielded tasks and still runs; the tasks are claimed. */
async function planned(keys: string[], over: Parameters<typeof running>[1] = {}) {
  const { jobId, tasks } = await running(one, { plan: true, ...over });
  const plan = tasks[0]!;
  const inputs = keys.map((key) => ({ taskId: v7(), key, payload: null }));
  const options = { queue: 'default', incarnation: LIFE, firstLookMs: 2000, actor: 'worker:test' };
  await addPlannedTasks(one, plan, inputs, options);
  return {
    jobId,
    plan,
    tasks: await claimAll(
      one,
      inputs.map(({ taskId }) => taskId),
    ),
  };
}

describe('the last task', () => {
  test('completes its job, whose result is that of its only task', async () => {
    const { jobId, tasks } = await running(one);
    await finish(one, ending(tasks[0]!, 'completed', { result: { n: 1 } }));
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'completed',
      outcome: 'completed',
      progress: 100,
      result: { n: 1 },
    });
    expect((await ledger(one, jobId)).slice(3).toSorted()).toEqual(['job.completed@3', 'tasks.completed@3']);
    expect(await dispatchRows(one, jobId)).toEqual([]);
  });

  test('ends at the same time as its job, however many end with it', async () => {
    const { jobId, tasks } = await running(one, { tasks: 400 });
    await finish(one, ...tasks.map((task) => ending(task)));
    const ends = (await taskRows(one, jobId)).map(({ finishedAt }) => Number(finishedAt));
    expect(new Set([...ends, Number((await jobRow(one, jobId)).finishedAt)]).size).toBe(1);
  });

  test('lets a job that needs it be finalized, at 99 and due at once', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2, finalize: true });
    await finish(one, ...tasks.map((task) => ending(task)));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'finalizing', progress: 99, finishedAt: null });
    const [row] = await dispatchRows(one, jobId);
    expect(row).toMatchObject({ kind: 'finalize', id: jobId });
    expect(row!.lookAgainAt.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
  });
});

describe('a task that fails for good', () => {
  test('fails its job at once and ends the others, with their fences raised', async () => {
    const { jobId, tasks } = await running(one, { tasks: 4 });
    await finish(one, ending(tasks[1]!, 'retrying', { delayMs: 60_000 }));
    await finish(one, ending(tasks[3]!));
    expect(await finish(one, ending(tasks[0]!, 'failed'))).toEqual(['applied']);
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'failed',
      error: failure,
      tasksFailed: 1,
      tasksCanceled: 2,
      tasksCompleted: 1,
      version: 5,
    });
    const rows = await taskRows(one, jobId);
    expect(rows.map(({ status, fence }) => [status, fence])).toEqual([
      ['failed', 1],
      ['canceled', 2],
      ['canceled', 2],
      ['completed', 1],
    ]);
    expect(await finish(one, ending(tasks[2]!))).toEqual(['stale']);
    expect(await one.cancelStop.count({ where: { jobId } })).toBe(1);
  });

  test('takes along what the same batch did not end, and counts what it did', async () => {
    const { jobId, tasks } = await running(one, { tasks: 3 });
    await finish(one, ending(tasks[0]!), ending(tasks[1]!, 'failed'));
    expect(await jobRow(one, jobId)).toMatchObject({ tasksCompleted: 1, tasksFailed: 1, tasksCanceled: 1 });
  });

  test('ends the jobs of one batch each by its own policy', async () => {
    const fast = await running(one, { tasks: 2 });
    const slow = await running(one, { tasks: 2, failurePolicy: 'continue' });
    await finish(one, ending(fast.tasks[0]!, 'failed'), ending(slow.tasks[0]!, 'failed'));
    expect((await jobRow(one, fast.jobId)).status).toBe('failed');
    expect(await jobRow(one, slow.jobId)).toMatchObject({ status: 'active', tasksFailed: 1, error: failure });
  });

  test('under continue lets all tasks end first, and names its error in the event of the end', async () => {
    const { jobId, tasks } = await running(one, { tasks: 3, failurePolicy: 'continue', finalize: true });
    await finish(one, ending(tasks[0]!, 'failed'));
    await finish(one, ending(tasks[1]!));
    await finish(one, ending(tasks[2]!));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'failed', tasksCompleted: 2, error: failure });
    const ended = await one.jobEvent.findFirst({ where: { jobId, kind: 'job.failed' } });
    expect(ended?.reason).toBe('handler_error');
  });
});

describe('the end of a plan', () => {
  test('that yielded nothing completes the job, without a finalization', async () => {
    const { jobId, tasks } = await running(one, { plan: true, finalize: true });
    await finish(one, ending(tasks[0]!));
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'completed',
      tasksTotal: 0,
      progress: 100,
      planning: false,
    });
    expect((await ledger(one, jobId)).at(-1)).toBe('job.completed@3');
  });

  test('is waited for by a job whose tasks have all ended', async () => {
    const { jobId, plan, tasks } = await planned(['a', 'b'], { finalize: true });
    await finish(one, ...tasks.map((task) => ending(task)));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'active', tasksCompleted: 2, progress: 0 });
    await finish(one, ending(plan));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'finalizing', progress: 99, planning: false });
  });

  test('shows the progress that was made while it ran', async () => {
    const { jobId, plan, tasks } = await planned(['a', 'b', 'c']);
    await finish(one, ending(tasks[0]!));
    expect((await jobRow(one, jobId)).progress).toBe(0);
    await finish(one, ending(plan));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'active', progress: 33, planning: false });
  });

  test('gives the job the same result whether the only task ends before it or after it', async () => {
    const before = await planned(['only']);
    await finish(one, ending(before.tasks[0]!, 'completed', { result: 'r' }));
    await finish(one, ending(before.plan));
    const after = await planned(['only']);
    await finish(one, ending(after.plan));
    await finish(one, ending(after.tasks[0]!, 'completed', { result: 'r' }));
    const together = await planned(['only']);
    await finish(one, ending(together.tasks[0]!, 'completed', { result: 'r' }), ending(together.plan));
    const results = await Promise.all(
      [before, after, together].map(async ({ jobId }) => (await jobRow(one, jobId)).result),
    );
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(1);
  });

  test('in failure fails the job under either policy, and the job plans no more', async () => {
    for (const failurePolicy of ['fail-fast', 'continue'] as const) {
      const alone = await running(one, { plan: true, failurePolicy });
      await finish(one, ending(alone.tasks[0]!, 'failed'));
      expect(await jobRow(one, alone.jobId)).toMatchObject({
        status: 'failed',
        planning: false,
        tasksTotal: 0,
      });
      const { jobId, plan } = await planned(['a', 'b'], { failurePolicy });
      await finish(one, ending(plan, 'failed'));
      expect(await jobRow(one, jobId)).toMatchObject({ status: 'failed', planning: false, tasksCanceled: 2 });
    }
  });

  test('by a failing task ends the plan too', async () => {
    const { jobId, plan, tasks } = await planned(['a', 'b']);
    await finish(one, ending(tasks[0]!, 'failed'));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'failed', planning: false, tasksTotal: 2 });
    expect(await finish(one, ending(plan))).toEqual(['stale']);
  });

  test('under continue fails the job when a task had failed while it ran', async () => {
    const { jobId, plan, tasks } = await planned(['a'], { failurePolicy: 'continue' });
    await finish(one, ending(tasks[0]!, 'failed'));
    expect((await jobRow(one, jobId)).status).toBe('active');
    await finish(one, ending(plan));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'failed', error: failure });
  });
});
