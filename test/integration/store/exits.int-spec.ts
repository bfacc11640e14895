import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { endExit, renewExit, takeDueExits } from '@app/engine/store/exit-hooks.js';
import { passByStrangeExits } from '@app/engine/store/strange-exits.js';
import { repairJobs } from '@app/engine/store/repair-jobs.js';
import { untilNextDue } from '@app/engine/store/timed-jobs.js';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { brokenRules } from './invariants.js';
import {
  dispatchRows,
  ending,
  finish,
  jobRow,
  LEASE,
  LIFE,
  newJob,
  openStore,
  OWNER,
  running,
  type Store,
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

const cancel = (jobId: string) => cancelJob(one, OWNER, jobId, { actor: 'key:test' });
const take = (graceMs = LEASE, name = 'test.type') =>
  takeDueExits(one, [{ name, version: 1, graceMs }], 10, LEASE);
/** Takes the exit of a job, which must be the only one that is due, and ends it. */
const takeAndEnd = async (jobId: string) => {
  const [exit, ...others] = await take();
  expect([exit?.jobId, others]).toEqual([jobId, []]);
  expect(await endExit(one, exit!, 'worker:test', null)).toBe(true);
};

describe('feature 30: the exit of a job', () => {
  test('is opened by the ending itself, for jobs that have a hook, and keeps no sweeper awake', async () => {
    const [hooked, plain] = [newJob({ exitHook: true }), newJob()];
    await acceptJobs(one, [hooked, plain], LIFE);
    for (const { jobId } of [hooked, plain]) await cancel(jobId);
    expect(await dispatchRows(one, plain.jobId)).toEqual([]);
    expect(await dispatchRows(one, hooked.jobId)).toMatchObject([
      { kind: 'exit', id: hooked.jobId, epoch: 1 },
    ]);
    expect(await untilNextDue(one, 1234)).toBe(1234);
    await takeAndEnd(hooked.jobId);
  });

  test('is opened by a repair too that ends a job', async () => {
    const { jobId } = await running(one, { exitHook: true });
    await one.$executeRaw`UPDATE tasks SET status = 'completed', progress = 100, lease_until = NULL, finished_at = now()
      WHERE job_id = ${jobId}::uuid`;
    await one.$executeRaw`DELETE FROM dispatch WHERE job_id = ${jobId}::uuid`;
    await repairJobs(one, '00000000-0000-0000-0000-000000000000', 100);
    expect((await jobRow(one, jobId)).status).toBe('completed');
    await takeAndEnd(jobId);
  });

  test('is left to processes that have the job type', async () => {
    const { jobId, tasks } = await running(one, { exitHook: true });
    await finish(one, ending(tasks[0]!));
    expect(await take(LEASE, 'test.other')).toEqual([]);
    await takeAndEnd(jobId);
  });

  test('of a type that a process lacks is passed by, longer each time, and ended with a reason after the limit', async () => {
    const { jobId, tasks } = await running(one, { exitHook: true });
    await finish(one, ending(tasks[0]!, 'failed'));
    const pass = async (types = [{ name: 'test.other', version: 1 }], over: object = {}) =>
      passByStrangeExits(one, types, { dueMs: 0, pauseMs: 60_000, passes: 3, limitMs: 0, most: 10, ...over });
    const wait = async () => {
      const [row] = await dispatchRows(one, jobId);
      return row && Math.ceil((row.lookAgainAt.getTime() - Date.now() - 30_000) / 60_000) + 0;
    };
    const due = () => one.$executeRaw`
      UPDATE dispatch SET look_again_at = clock_timestamp() - interval '1 second' WHERE job_id = ${jobId}::uuid`;
    await due();
    // It is known here, or its version is not; or others had no time yet.
    expect(await pass([{ name: 'test.type', version: 1 }])).toEqual([]);
    expect(await pass(undefined, { dueMs: 60_000 })).toEqual([]);
    expect(await wait()).toBe(0);
    expect(await pass([{ name: 'test.type', version: 0 }])).toEqual([]);
    expect(await wait()).toBe(1);
    expect(await pass()).toEqual([]);
    for (const minutes of [2, 4]) {
      await due();
      expect(await pass()).toEqual([]);
      expect(await wait()).toBe(minutes);
    }
    // Whoever takes it has the code: it is counted anew.
    await due();
    const [turn] = await take();
    expect(await renewExit(one, turn!, 0)).toBe(true);
    expect(await pass(undefined, { passes: 1 })).toEqual([]);
    await due();
    expect(await pass(undefined, { passes: 1, limitMs: 60_000 })).toEqual([]);
    expect(await wait()).toBe(2);
    await due();
    expect(await pass(undefined, { passes: 1 })).toEqual([jobId]);
    expect(await dispatchRows(one, jobId)).toEqual([]);
    expect(await endExit(one, turn!, 'worker:test', null)).toBe(false);
    const event = await one.jobEvent.findFirstOrThrow({ where: { jobId, kind: 'job.exited' } });
    expect(event).toMatchObject({
      actor: 'syncer',
      reason: 'No worker had the job type, or its version.',
      version: (await jobRow(one, jobId)).version,
    });
  });

  test('waits for a stop that nobody tells of no longer than the grace', async () => {
    const { jobId } = await running(one, { exitHook: true });
    await cancel(jobId);
    expect(await take()).toEqual([]);
    await one.$executeRaw`UPDATE jobs SET finished_at = finished_at - interval '2 minutes' WHERE id = ${jobId}::uuid`;
    await takeAndEnd(jobId);
  });

  test('belongs to the latest turn: an earlier one neither keeps nor ends it', async () => {
    const { jobId, tasks } = await running(one, { exitHook: true });
    await finish(one, ending(tasks[0]!, 'failed'));
    const [first] = await take();
    expect(await take()).toEqual([]);
    expect(await renewExit(one, first!, 0)).toBe(true);
    const [second] = await take();
    expect(second).toMatchObject({ jobId, epoch: first!.epoch + 1, status: 'failed' });
    expect(await renewExit(one, first!, LEASE)).toBe(false);
    expect(await endExit(one, first!, 'worker:test', null)).toBe(false);
    expect(await endExit(one, second!, 'worker:test', 'why')).toBe(true);
    const event = await one.jobEvent.findFirstOrThrow({ where: { jobId, kind: 'job.exited' } });
    expect(event).toMatchObject({ reason: 'why', version: (await jobRow(one, jobId)).version });
  });
});
