import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { v7 } from 'uuid';
import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { claimTasks } from '@app/engine/store/claim-tasks.js';
import { retryJob } from '@app/engine/store/retry-job.js';
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
  LEASE,
  ledger,
  LIFE,
  newJob,
  openStore,
  type Store,
  taskRow,
  WORKER,
} from './store-fixture.js';

let store: Store;
let one: PrismaClient;
let other: PrismaClient;

beforeAll(async () => {
  store = await openStore(4);
  [one, other] = store.clients as [PrismaClient, PrismaClient];
});
afterAll(async () => {
  expect(await brokenRules(one)).toEqual([]);
  await store.close();
});

const BY = { actor: 'key:test' };
const accepted = async (over: Parameters<typeof newJob>[0] = {}) => {
  const job = newJob(over);
  await acceptJobs(one, [job], LIFE);
  return { jobId: job.jobId, ids: job.units.map((unit) => unit.taskId) };
};
const claim = async (sql: Sql, taskId: string, nonce = randomUUID()) =>
  (await claimTasks(sql, [{ taskId, nonce }], WORKER, LEASE)).get(taskId)!;

describe('claiming tasks', () => {
  test('raises the fence and the attempt, makes the job active, and gives all that a handler needs', async () => {
    const { jobId, ids } = await accepted();
    expect(await claim(one, ids[0]!)).toMatchObject({
      kind: 'claimed',
      task: {
        jobId,
        fence: 1,
        attempt: 1,
        ownerId: 'alice',
        payload: { of: 'job' },
        generation: 1,
        position: 0,
      },
    });
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'active', version: 2 });
    expect((await ledger(one, jobId)).toSorted()).toEqual(['job.active@2', 'job.queued@1', 'tasks.active@2']);
    const [row] = await dispatchRows(one, jobId);
    expect(row!.lookAgainAt.getTime()).toBeGreaterThan(Date.now() + LEASE / 2);
  });

  test('gives a task to one of many that claim it at once (feature 48)', async () => {
    const { ids } = await accepted({ tasks: 5 });
    for (const taskId of ids) {
      const results = await Promise.all(
        [...store.clients, ...store.clients].map((client) => claimUntilKnown(client, taskId)),
      );
      expect(results.filter(({ kind }) => kind === 'claimed')).toHaveLength(1);
      expect((await taskRow(one, taskId)).fence).toBe(1);
    }
  });

  test('makes a job active once when its tasks are claimed at once', async () => {
    for (let round = 0; round < 5; round++) {
      const { jobId, ids } = await accepted({ tasks: 4 });
      await Promise.all(ids.map((taskId, at) => claimUntilKnown(store.clients[at]!, taskId)));
      expect((await ledger(one, jobId)).filter((kind) => kind.startsWith('job.active'))).toEqual([
        'job.active@2',
      ]);
    }
  });

  test('knows its own nonce again, and grants nothing twice', async () => {
    const { jobId, ids } = await accepted();
    const nonce = randomUUID();
    const first = await claim(one, ids[0]!, nonce);
    expect(await claim(other, ids[0]!, nonce)).toEqual(first);
    expect(await claim(one, ids[0]!)).toEqual({ kind: 'not-open' });
    expect(await ledger(one, jobId)).toHaveLength(3);
    expect((await taskRow(one, ids[0]!)).attempt).toBe(1);
  });

  test('does not know a nonce again after the attempt has ended', async () => {
    const { ids } = await accepted({ tasks: 2 });
    const nonce = randomUUID();
    await claim(one, ids[0]!, nonce);
    await finish(one, ending({ taskId: ids[0]!, fence: 1 }));
    expect(await claim(one, ids[0]!, nonce)).toEqual({ kind: 'not-open' });
  });

  test('answers not-open for what has ended, was canceled or is unknown, in a batch with others (feature 48)', async () => {
    const [ended, canceled, open] = [await accepted(), await accepted(), await accepted()];
    await finish(one, ending((await claimAll(one, ended.ids))[0]!));
    await cancelJob(one, 'alice', canceled.jobId, BY);
    const ids = [ended.ids[0]!, canceled.ids[0]!, open.ids[0]!, v7()];
    const results = await claimTasks(
      one,
      ids.map((taskId) => ({ taskId, nonce: randomUUID() })),
      WORKER,
      LEASE,
    );
    expect(ids.map((id) => results.get(id)?.kind)).toEqual(['not-open', 'not-open', 'claimed', 'not-open']);
  });

  test('leaves a job alone whose late message is of a task that has ended', async () => {
    const { jobId, ids } = await accepted({ tasks: 2 });
    const done = (await claimAll(one, [ids[0]!]))[0]!;
    await finish(one, ending(done));
    await cancelJob(one, 'alice', jobId, BY);
    await retryJob(one, 'alice', jobId, BY);
    expect(await claim(one, done.taskId)).toEqual({ kind: 'not-open' });
    expect(await jobRow(one, jobId)).toMatchObject({ status: 'queued', startedAt: null });
  });

  test('answers busy, not not-open, while the job is being made active by another claim', async () => {
    const { ids } = await accepted({ tasks: 2 });
    const held = await holding(one, (sql) => claim(sql, ids[0]!));
    expect(await claim(other, ids[1]!)).toEqual({ kind: 'busy' });
    await held.commit();
    expect((await claim(other, ids[1]!)).kind).toBe('claimed');
  });

  test('answers busy while another claim holds the task, and not-open after it', async () => {
    const { ids } = await accepted({ tasks: 2 });
    await claim(one, ids[1]!);
    const held = await holding(one, (sql) => claim(sql, ids[0]!));
    expect(await claim(other, ids[0]!)).toEqual({ kind: 'busy' });
    await held.commit();
    expect(await claim(other, ids[0]!)).toEqual({ kind: 'not-open' });
  });

  test('takes a task when the claim that held it is rolled back', async () => {
    const { ids } = await accepted();
    const held = await holding(one, (sql) => claim(sql, ids[0]!));
    await held.rollBack();
    expect(await claim(other, ids[0]!)).toMatchObject({ kind: 'claimed', task: { fence: 1, attempt: 1 } });
  });

  test('never takes a task of a job whose cancel is under way', async () => {
    const { jobId, ids } = await accepted({ tasks: 2 });
    await claim(one, ids[1]!);
    const held = await holding(one, (sql) => cancelJob(inside(sql), 'alice', jobId, BY));
    expect(await claim(other, ids[0]!)).toEqual({ kind: 'busy' });
    await held.commit();
    expect(await claim(other, ids[0]!)).toEqual({ kind: 'not-open' });
    expect((await taskRow(one, ids[0]!)).attempt).toBe(0);
  });

  test('is undone by a cancel that waited for it: the fence rises past it', async () => {
    const { jobId, ids } = await accepted();
    const held = await holding(one, (sql) => claim(sql, ids[0]!));
    const canceled = cancelJob(other, 'alice', jobId, BY);
    await blocked(one);
    await held.commit();
    expect(await canceled).toMatchObject({ kind: 'canceled' });
    expect(await taskRow(one, ids[0]!)).toMatchObject({ status: 'canceled', fence: 2 });
    expect(await one.cancelStop.count({ where: { jobId, worker: WORKER } })).toBe(1);
  });

  test('gives a batch of two jobs one event and one version for each', async () => {
    const [a, b] = [await accepted({ tasks: 3 }), await accepted({ tasks: 3 })];
    await claimAll(one, [...a.ids, ...b.ids].toReversed());
    for (const { jobId } of [a, b]) {
      expect((await ledger(one, jobId)).toSorted()).toEqual([
        'job.active@2',
        'job.queued@1',
        'tasks.active@2',
      ]);
    }
  });

  test('takes a task again that waits for its next attempt or was handed back, with the next fence', async () => {
    const { ids } = await accepted({ tasks: 2 });
    const tasks = await claimAll(one, ids);
    await finish(one, ending(tasks[0]!, 'retrying'), ending(tasks[1]!, 'paused'));
    const again = await claimAll(one, ids);
    expect(again.map(({ fence, attempt }) => ({ fence, attempt }))).toEqual([
      { fence: 2, attempt: 2 },
      { fence: 2, attempt: 1 },
    ]);
  });
});

/** Repeats as the engine does, until the answer is no longer busy. */
async function claimUntilKnown(sql: Sql, taskId: string) {
  const nonce = randomUUID();
  for (;;) {
    const result = await claim(sql, taskId, nonce);
    if (result.kind !== 'busy') return result;
  }
}
