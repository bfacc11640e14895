import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { type AdmissionOptions, admitTasks, stepDown } from '@app/engine/store/admit-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { pauseWork } from '@app/engine/store/pauses.js';
import type { TypeLimits } from '@app/engine/store/type-limits.js';
import { registerWorker } from '@app/engine/store/worker-records.js';
import { brokenRules } from './invariants.js';
import { claimAll, ending, finish, LEASE, LIFE, newJob, openStore, type Store } from './store-fixture.js';

let store: Store;
let one: PrismaClient;
let other: PrismaClient;

beforeAll(async () => {
  store = await openStore(2);
  [one, other] = store.clients as [PrismaClient, PrismaClient];
});
afterAll(async () => {
  expect(await brokenRules(one)).toEqual([]);
  await store.close();
});
beforeEach(async () => {
  await one.$executeRaw`TRUNCATE workers, jobs, tasks, task_inputs, dispatch, job_events, queues, type_starts, type_holders, pauses, cancellations, cancel_stops`;
  await one.$executeRaw`UPDATE admission SET until = clock_timestamp()`;
});

const FREE: TypeLimits = { concurrency: undefined, rate: undefined, oneByOne: false };
const worker = (slots: number) =>
  registerWorker(one, {
    id: randomUUID(),
    host: 'here',
    pid: 1,
    queues: ['default'],
    tags: [],
    slots,
    types: {},
  });
const options = (over: Partial<AdmissionOptions> = {}): AdmissionOptions => ({
  by: 'one',
  waiting: new Map([['default', 0]]),
  limits: new Map([
    ['test.type', FREE],
    ['test.in-turn', { ...FREE, oneByOne: true }],
    ['test.few', { ...FREE, concurrency: 2 }],
  ]),
  perOwner: undefined,
  leaseMs: LEASE,
  incarnation: LIFE,
  ...over,
});
const submit = async (ownerId: string, tasks: number, type = 'test.type') => {
  const job = newJob({ ownerId, tasks, type, direct: 0 });
  await acceptJobs(one, [job], LIFE);
  return { jobId: job.jobId, ids: job.units.map(({ taskId }) => taskId) };
};
const admit = async (over: Partial<AdmissionOptions> = {}, client = one) =>
  (await admitTasks(client, options(over)))?.admitted.map(({ taskId }) => taskId);

describe('a pass', () => {
  test('gives the job that holds its type its turns, however much others have waiting', async () => {
    await worker(1);
    const holder = await submit('h', 3, 'test.in-turn');
    const [a, b] = [await submit('a', 20), await submit('z', 20)];
    const admitted: string[] = [];
    for (let n = 0; n < 9; n++)
      admitted.push(...((await admit({ waiting: new Map([['default', 0]]) })) ?? []));
    expect(admitted.filter((id) => holder.ids.includes(id))).toHaveLength(3);
    expect(admitted.filter((id) => a.ids.includes(id)).length).toBeGreaterThan(2);
    expect(admitted.filter((id) => b.ids.includes(id)).length).toBeGreaterThan(2);
  });

  test('goes past any number of owners who have nothing to give', async () => {
    await worker(4);
    const jobs = Array.from({ length: 600 }, (_, n) =>
      newJob({ ownerId: `o${String(n).padStart(3, '0')}`, type: 'test.few', direct: 0 }),
    );
    await acceptJobs(one, jobs, LIFE);
    await pauseWork(one, { kind: 'type', name: 'test.few', actor: 'test', reason: null, until: null });
    const { ids } = await submit('z', 1);
    expect([...((await admit()) ?? []), ...((await admit()) ?? [])]).toEqual(ids);
  });

  test('lets one job of a type run, of however many owners wait, and uses the room for others', async () => {
    await worker(4);
    for (const owner of ['a', 'b', 'c', 'd', 'e']) await submit(owner, 1, 'test.in-turn');
    const { ids } = await submit('f', 3);
    const admitted = [
      ...((await admit()) ?? []),
      ...((await admit({ waiting: new Map([['default', 3]]) })) ?? []),
    ];
    expect(admitted).toHaveLength(4);
    expect(admitted).toEqual(expect.arrayContaining(ids));
  });

  test('counts what is under way, and frees a place with the statement that ends it', async () => {
    await worker(8);
    const { ids } = await submit('a', 3, 'test.few');
    expect(await admit()).toEqual(ids.slice(0, 2));
    expect(await admit()).toEqual([]);
    const [first] = await claimAll(one, ids.slice(0, 2));
    expect(await admit()).toEqual([]);
    await finish(one, ending(first!));
    expect(await admit()).toEqual(ids.slice(2));
  });

  test('keeps the places of attempts that were told to stop', async () => {
    await worker(8);
    const canceled = await submit('a', 2, 'test.few');
    await admit();
    await claimAll(one, canceled.ids);
    const next = await submit('b', 1, 'test.few');
    await cancelJob(one, 'a', canceled.jobId, { actor: 'test' });
    expect(await admit()).toEqual([]);
    await one.$executeRaw`UPDATE cancel_stops SET stopped_at = clock_timestamp()`;
    expect(await admit()).toEqual(next.ids);
  });

  test('asks for no other one soon while no worker lives, for room does not come by itself', async () => {
    await submit('a', 3);
    expect(await admitTasks(one, options())).toEqual({ admitted: [], more: false, backlogged: false });
    await worker(1);
    expect(await admitTasks(one, options())).toMatchObject({
      admitted: [{ kind: 'task' }],
      backlogged: true,
    });
  });

  test('is made by one process, until it steps down or is silent', async () => {
    await worker(2);
    await submit('a', 9);
    expect(await admit()).toHaveLength(2);
    // Silent it is a second later. That takes longer here.
    expect(
      await one.$executeRaw`UPDATE admission SET until = until + interval '1 hour' WHERE until > now() - interval '1 hour'`,
    ).toBe(1);
    expect(await admit({ by: 'other' }, other)).toBeUndefined();
    await stepDown(other, 'other');
    expect(await admit({ by: 'other' }, other)).toBeUndefined();
    await stepDown(one, 'one');
    expect(await admit({ by: 'other' }, other)).not.toHaveLength(0);
    const both = await Promise.all([admit({ by: 'other' }, other), admit()]);
    expect(both[1]).toBeUndefined();
  });
});
