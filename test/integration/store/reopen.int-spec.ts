import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Transaction } from '@app/core';
import type { Database, PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { commitEffect, StaleFenceError } from '@app/engine/store/commit-effect.js';
import { endFinalization, takeDueFinalizations } from '@app/engine/store/finalization.js';
import { JobQueries } from '@app/engine/store/job-queries.js';
import { resolveJob } from '@app/engine/store/resolve-job.js';
import { deleteOldJobs } from '@app/engine/store/retention.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { failOverdueJobs, rescheduleJob, startDueJobs, takeDueJobs } from '@app/engine/store/timed-jobs.js';
import { brokenRules } from './invariants.js';
import {
  blocked,
  claimAll,
  dispatchRows,
  ending,
  finish,
  gate,
  holding,
  inside,
  jobRow,
  LIFE,
  makeDue,
  newJob,
  openStore,
  OWNER,
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
const insert = (tx: Transaction, key: string) =>
  tx.execute(`INSERT INTO settings (key, value) VALUES ($1, '')`, key);
const retry = (client: PrismaClient, jobId: string) => retryJob(client, OWNER, jobId, BY);
const ago = (ms: number) => new Date(Date.now() - ms);

describe('a retry', () => {
  test('opens what did not complete with a higher fence, so that the old attempts stay stale', async () => {
    const { jobId, tasks } = await running(one, { tasks: 3 });
    await finish(one, ending(tasks[0]!), ending(tasks[1]!, 'failed'));
    expect(await retry(one, jobId)).toMatchObject({ kind: 'retried', status: 'queued' });
    expect(await jobRow(one, jobId)).toMatchObject({
      generation: 2,
      tasksCompleted: 1,
      tasksFailed: 0,
      tasksCanceled: 0,
    });
    expect((await taskRows(one, jobId)).map(({ status, fence }) => `${status} ${fence}`)).toEqual([
      'completed 1',
      'queued 2',
      'queued 3',
    ]);
    expect(await finish(one, ending(tasks[2]!))).toEqual(['stale']);
    const again = await claimAll(one, [tasks[1]!.taskId, tasks[2]!.taskId]);
    expect(again.map(({ generation, attempt }) => [generation, attempt])).toEqual([
      [2, 1],
      [2, 1],
    ]);
    await finish(one, ...again.map((task) => ending(task)));
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'completed', progress: 100, error: null });
  });

  test('that has only its finalization left goes straight to it, with the result of its task', async () => {
    const { jobId, tasks } = await running(one, { finalize: true });
    await finish(one, ending(tasks[0]!, 'completed', { result: { n: 1 } }));
    await makeDue(one, jobId);
    const turn = (await takeDueFinalizations(one, 100, 60_000)).find((job) => job.jobId === jobId);
    await endFinalization(one, turn!, 'worker:test', { code: 'catalog_rejected', message: 'no' });
    expect(await retry(one, jobId)).toMatchObject({ kind: 'retried', status: 'finalizing' });
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'finalizing', generation: 2, result: { n: 1 } });
  });

  test('is given to one of two, and refused to a job that has not ended so', async () => {
    const { jobId } = await running(one);
    expect(await retry(one, jobId)).toEqual({ kind: 'refused', status: 'active' });
    await cancelJob(one, OWNER, jobId, BY);
    const answers = await Promise.all([retry(one, jobId), retry(other, jobId)]);
    expect(answers.map((answer) => answer!.kind).toSorted()).toEqual(['refused', 'retried']);
    expect(await retryJob(one, 'bob', jobId, BY)).toBeUndefined();
  });
});

const scheduled = async (over: Parameters<typeof newJob>[0]) => {
  const job = newJob({ tasks: 2, ...over });
  await acceptJobs(one, [job], LIFE);
  return job;
};

describe('a time of a job', () => {
  test('starts it once, however many sweepers see that it is due', async () => {
    const { jobId } = await scheduled({ runAt: ago(10) });
    const due = (await Promise.all([takeDueJobs(one, 50), takeDueJobs(other, 50)])).flat();
    expect(due.filter((job) => job.jobId === jobId)).toEqual([{ jobId, kind: 'start' }]);
    const sent = await Promise.all([startDueJobs(one, [jobId]), startDueJobs(other, [jobId])]);
    expect(sent.toSorted()).toEqual([0, 2]);
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'queued', version: 2 });
    expect((await dispatchRows(one, jobId)).map(({ kind }) => kind)).toEqual(['task', 'task']);
  });

  test('does not start it when it was moved or canceled while the sweeper waited', async () => {
    const [moved, canceled] = [await scheduled({ runAt: ago(10) }), await scheduled({ runAt: ago(10) })];
    const held = await holding(other, async (sql) => {
      await rescheduleJob(inside(sql), OWNER, moved.jobId, new Date(Date.now() + 60_000), 'key:test');
      await cancelJob(inside(sql), OWNER, canceled.jobId, BY);
    });
    const sent = startDueJobs(one, [moved.jobId, canceled.jobId]);
    await blocked(other);
    await held.commit();
    expect(await sent).toBe(0);
    expect((await dispatchRows(one, moved.jobId)).map(({ kind }) => kind)).toEqual(['start']);
    expect(await dispatchRows(one, canceled.jobId)).toEqual([]);
  });

  test('fails it when it has not begun, but not when a claim was just before', async () => {
    const [late, begun] = [await scheduled({ expiresAt: ago(10) }), await scheduled({ expiresAt: ago(10) })];
    const ids = begun.units.map(({ taskId }) => taskId);
    const held = await holding(other, (sql) => claimAll(sql, ids));
    const failed = failOverdueJobs(one, [late.jobId, begun.jobId]);
    await blocked(other);
    await held.commit();
    expect(await failed).toEqual([{ jobId: late.jobId, generation: 1 }]);
    expect(await jobRow(one, late.jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'missed_deadline' },
    });
    expect(await jobRow(one, begun.jobId)).toMatchObject({ status: 'active' });
    expect((await dispatchRows(one, begun.jobId)).map(({ kind }) => kind)).toEqual(['task', 'task']);
  });

  test('fails it when it runs too long, and fences its attempts', async () => {
    const { jobId, tasks } = await running(one, { tasks: 2, maxRuntimeMs: 1 });
    await makeDue(one, jobId);
    expect(await failOverdueJobs(one, [jobId])).toEqual([{ jobId, generation: 1 }]);
    expect(await jobRow(one, jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'timeout' },
      tasksCanceled: 2,
    });
    expect(await finish(one, ...tasks.map((task) => ending(task)))).toEqual(['stale', 'stale']);
  });
});

describe('an effect', () => {
  test('is committed once, and its result is given to the next attempt', async () => {
    const { tasks } = await running(one, { tasks: 2 });
    let runs = 0;
    const effect = () => Promise.resolve(++runs);
    expect(await commitEffect(one, tasks[0]!, 'pay', effect)).toBe(1);
    await finish(one, ending(tasks[0]!, 'retrying'));
    const [again] = await claimAll(one, [tasks[0]!.taskId]);
    expect(await commitEffect(one, again!, 'pay', effect)).toBe(1);
    await expect(commitEffect(one, tasks[0]!, 'ship', effect)).rejects.toThrow(StaleFenceError);
    expect(runs).toBe(1);
  });

  test('happens once when a handler asks for it twice at once', async () => {
    const { tasks } = await running(one);
    const [begun, beaten] = [gate(), gate()];
    const slow = commitEffect(one, tasks[0]!, 'once', async (tx) => {
      await insert(tx, 'slow');
      begun.open();
      await beaten.opened;
      return 'slow';
    });
    await begun.opened;
    const quick = await commitEffect(other, tasks[0]!, 'once', (tx) =>
      insert(tx, 'quick').then(() => 'quick'),
    );
    beaten.open();
    expect([quick, await slow]).toEqual(['quick', 'quick']);
    expect(await one.setting.count({ where: { key: { in: ['slow', 'quick'] } } })).toBe(1);
  });

  test('is undone when a cancel is committed while it runs', async () => {
    const { jobId, tasks } = await running(one);
    const effect = commitEffect(one, tasks[0]!, 'pay', async (tx) => {
      await tx.execute(`INSERT INTO settings (key, value) VALUES ('paid', 'twice')`);
      await cancelJob(other, OWNER, jobId, BY);
      return null;
    });
    await expect(effect).rejects.toThrow(StaleFenceError);
    expect(await one.setting.count({ where: { key: 'paid' } })).toBe(0);
    expect(await one.taskCommit.count({ where: { taskId: tasks[0]!.taskId } })).toBe(0);
  });
});

describe('retention', () => {
  test('deletes a job of very many tasks in parts, and nobody can retry what is left of it', async () => {
    const [large, small] = [newJob({ tasks: 5 }), newJob({ tasks: 2 })];
    for (const job of [large, small]) {
      await acceptJobs(one, [job], LIFE);
      await cancelJob(one, OWNER, job.jobId, BY);
    }
    const hours = { [large.jobId]: 60, [small.jobId]: 50 };
    for (const [id, age] of Object.entries(hours))
      await one.$executeRaw`
        UPDATE jobs SET finished_at = now() - make_interval(hours => ${age}::int) WHERE id = ${id}::uuid`;
    const tick = () => deleteOldJobs(one, 48 * 3_600_000, 100, 2);
    expect(await tick()).toBe(0);
    expect(await one.task.count({ where: { jobId: large.jobId } })).toBe(3);
    // Not as its owner, and not as an administrator, who acts for whoever owns it.
    expect(await retry(one, large.jobId)).toBeUndefined();
    const queries = new JobQueries({ main: one } as Database);
    expect(await queries.ownerOf(large.jobId)).toBeUndefined();
    expect(await queries.ownerOf(small.jobId)).toBe(OWNER);
    const resolution = { status: 'failed', reason: 'x' } as const;
    expect(await resolveJob(one, large.jobId, resolution, 'key:admin')).toBeUndefined();
    expect(await resolveJob(one, small.jobId, resolution, 'key:admin')).toMatchObject({ kind: 'refused' });
    expect(await tick()).toBe(0);
    expect(await tick()).toBe(1);
    expect(await one.job.count({ where: { id: large.jobId } })).toBe(0);
    expect(await tick()).toBe(1);
    for (const { jobId } of [large, small]) expect(await one.task.count({ where: { jobId } })).toBe(0);
  });

  test('deletes an old job with all that it has, never an open one, and leaves its idempotency key', async () => {
    const idempotency = { key: 'kept', bodyHash: 'same' };
    const { jobId, tasks } = await running(one, { idempotency });
    await commitEffect(one, tasks[0]!, 'pay', () => Promise.resolve(1));
    const open = await running(one);
    await finish(one, ending(tasks[0]!, 'completed', { result: 1 }));
    expect(await deleteOldJobs(one, 60_000, 100)).toBe(0);
    await one.$executeRaw`UPDATE jobs SET finished_at = now() - interval '1 day' WHERE id = ${jobId}::uuid`;
    const held = await holding(
      other,
      (sql) => sql.$queryRaw`SELECT 1 FROM jobs WHERE id = ${jobId}::uuid FOR UPDATE`,
    );
    expect(await deleteOldJobs(one, 60_000, 100)).toBe(0);
    await held.commit();
    expect(await deleteOldJobs(one, 60_000, 100)).toBe(1);
    const left = await one.$queryRaw<{ n: number }[]>`
      SELECT (SELECT count(*) FROM tasks WHERE job_id = ${jobId}::uuid) + (SELECT count(*) FROM job_events WHERE job_id = ${jobId}::uuid)
        + (SELECT count(*) FROM task_commits WHERE task_id = ${tasks[0]!.taskId}::uuid)
        + (SELECT count(*) FROM task_outputs WHERE task_id = ${tasks[0]!.taskId}::uuid) AS n`;
    expect(Number(left[0]!.n)).toBe(0);
    expect((await jobRow(one, open.jobId)).status).toBe('active');
    // Its key has a time of its own.
    expect(await acceptJobs(one, [newJob({ idempotency })], LIFE)).toMatchObject([{ kind: 'replayed' }]);
  });
});
