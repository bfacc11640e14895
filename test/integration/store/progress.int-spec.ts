import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { finishTasks } from '@app/engine/store/finish-tasks.js';
import { repairJobs } from '@app/engine/store/repair-jobs.js';
import { reportProgress } from '@app/engine/store/task-progress.js';
import { brokenRules } from './invariants.js';
import {
  claimAll,
  ending,
  finish,
  holding,
  inside,
  jobRow,
  LIFE,
  openStore,
  running,
  type Store,
  taskRow,
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

const FIRST = '00000000-0000-0000-0000-000000000000';
const at = ({ taskId, fence }: { taskId: string; fence: number }, percent: number, detail?: string) => ({
  taskId,
  fence,
  percent,
  ...(detail === undefined ? {} : { detail }),
});
const report = async (...members: ReturnType<typeof at>[]) => [...(await reportProgress(one, members))];

describe('progress', () => {
  test('of a job is the floor of the mean of its tasks, with one version for each batch', async () => {
    const [a, b] = [await running(one, { tasks: 3 }), await running(one, { tasks: 3 })];
    expect(await report(at(a.tasks[2]!, 100), at(b.tasks[0]!, 50), at(a.tasks[0]!, 99))).toEqual([]);
    expect(await jobRow(one, a.jobId)).toMatchObject({ progress: 66, progressSum: 199n, version: 3 });
    expect(await jobRow(one, b.jobId)).toMatchObject({ progress: 16, progressSum: 50n, version: 3 });
  });

  test('never goes back, neither in one attempt nor in the next', async () => {
    const { jobId, tasks } = await running(one);
    await report(at(tasks[0]!, 80));
    await report(at(tasks[0]!, 10, 'back'));
    await finish(one, ending(tasks[0]!, 'retrying'));
    const [again] = await claimAll(one, [tasks[0]!.taskId]);
    await report(at(again!, 5));
    expect(await jobRow(one, jobId)).toMatchObject({ progress: 80, progressSum: 80n });
    expect((await taskRow(one, tasks[0]!.taskId)).progress).toBe(80);
  });

  test('stops at 99 before the job is completed', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    await report(at(tasks[0]!, 100), at(tasks[1]!, 100));
    expect(await jobRow(one, jobId)).toMatchObject({ progress: 99, progressSum: 200n });
    await finish(one, ending(tasks[0]!));
    expect(await jobRow(one, jobId)).toMatchObject({ progress: 99, progressSum: 200n });
    await finish(one, ending(tasks[1]!));
    expect(await jobRow(one, jobId)).toMatchObject({ progress: 100, status: 'completed' });
  });

  test('changes no version when nothing has changed, and keeps the latest detail', async () => {
    const { jobId, tasks } = await running(one);
    await report(at(tasks[0]!, 20, 'first'));
    await report(at(tasks[0]!, 20));
    await report(at(tasks[0]!, 3));
    expect(await jobRow(one, jobId)).toMatchObject({ version: 3, detail: 'first' });
    await report(at(tasks[0]!, 20, 'second'));
    expect(await jobRow(one, jobId)).toMatchObject({ version: 4, detail: 'second', progress: 20 });
  });

  test('is 0 while the plan still adds tasks', async () => {
    const { jobId, tasks } = await running(one, { plan: true });
    const inputs = ['a', 'b'].map((key) => ({ taskId: v7(), key, payload: null }));
    const options = { queue: 'default', incarnation: LIFE, firstLookMs: 2000, actor: 'worker:test' };
    await addPlannedTasks(one, tasks[0]!, inputs, options);
    const [a] = await claimAll(one, [inputs[0]!.taskId]);
    await report(at(a!, 60), at(tasks[0]!, 90));
    expect(await jobRow(one, jobId)).toMatchObject({ progress: 0, progressSum: 60n });
    await finish(one, ending(tasks[0]!));
    expect((await jobRow(one, jobId)).progress).toBe(30);
  });

  test('is not taken from a stale attempt, nor for a canceled job', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    expect(await report(at({ ...tasks[0]!, fence: 7 }, 50))).toEqual([]);
    await cancelJob(one, 'alice', jobId, { actor: 'key:test' });
    expect(await report(at(tasks[1]!, 50))).toEqual([]);
    expect(await jobRow(one, jobId)).toMatchObject({ progress: 0, progressSum: 0n });
  });

  test('is given back as busy while the job is locked, and the other jobs get theirs', async () => {
    const [locked, free] = [await running(one), await running(one)];
    const held = await holding(
      other,
      (sql) => sql.$queryRaw`SELECT 1 FROM jobs WHERE id = ${locked.jobId}::uuid FOR NO KEY UPDATE`,
    );
    expect(await report(at(locked.tasks[0]!, 40), at(free.tasks[0]!, 40))).toEqual([locked.tasks[0]!.taskId]);
    await held.commit();
    expect((await jobRow(one, free.jobId)).progress).toBe(40);
    expect(await report(at(locked.tasks[0]!, 40))).toEqual([]);
    expect((await jobRow(one, locked.jobId)).progress).toBe(40);
  });

  test('counts nothing twice when a finish of the same task is under way', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    await report(at(tasks[0]!, 30));
    const held = await holding(other, (sql) => finishTasks(inside(sql), [ending(tasks[0]!)], 'worker:test'));
    expect(await report(at(tasks[0]!, 70), at(tasks[1]!, 10))).toHaveLength(2);
    await held.commit();
    expect(await report(at(tasks[0]!, 70), at(tasks[1]!, 10))).toEqual([]);
    expect(await jobRow(one, jobId)).toMatchObject({ progressSum: 110n, progress: 55 });
  });
});

describe('repairing progress', () => {
  test('mends a sum that has drifted, takes nothing back, and then finds nothing more', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2 });
    await report(at(tasks[0]!, 60));
    await one.$executeRaw`UPDATE jobs SET progress_sum = 7 WHERE id = ${jobId}::uuid`;
    expect((await repairJobs(one, FIRST, 100)).drifted).toBe(1);
    expect(await jobRow(one, jobId)).toMatchObject({ progressSum: 60n, progress: 30, version: 4 });
    await one.$executeRaw`UPDATE tasks SET progress = 90 WHERE id = ${tasks[1]!.taskId}::uuid`;
    expect((await repairJobs(one, FIRST, 100)).drifted).toBe(1);
    expect(await jobRow(one, jobId)).toMatchObject({ progressSum: 150n, progress: 75 });
    expect((await repairJobs(one, FIRST, 100)).drifted).toBe(0);
  });

  test('goes through the open jobs page by page and begins again after the last', async () => {
    await running(one);
    const open = await one.job.findMany({ where: { finishedAt: null }, select: { id: true } });
    const pages: (string | undefined)[] = [FIRST];
    while (pages.at(-1) !== undefined && pages.length < 100) {
      pages.push((await repairJobs(one, pages.at(-1)!, 2)).next);
    }
    expect(pages).toHaveLength(Math.floor(open.length / 2) + 2);
  });

  test('looks at no more jobs at a time than have so many tasks, and at one at least', async () => {
    await running(one, { tasks: 5 });
    await running(one, { tasks: 2 });
    const open = await one.job.findMany({ where: { finishedAt: null }, orderBy: { id: 'asc' } });
    const pages: (string | undefined)[] = [FIRST];
    while (pages.at(-1) !== undefined) pages.push((await repairJobs(one, pages.at(-1)!, 100, 1)).next);
    expect(pages.slice(1, -1)).toEqual(open.slice(0, -1).map(({ id }) => id));
  });

  test('passes a locked job by without waiting', async () => {
    const { jobId } = await running(one);
    await one.$executeRaw`UPDATE jobs SET progress_sum = 5 WHERE id = ${jobId}::uuid`;
    const held = await holding(
      other,
      (sql) => sql.$queryRaw`SELECT 1 FROM jobs WHERE id = ${jobId}::uuid FOR NO KEY UPDATE`,
    );
    expect((await repairJobs(one, FIRST, 100)).drifted).toBe(0);
    await held.commit();
    expect((await repairJobs(one, FIRST, 100)).drifted).toBe(1);
  });
});
