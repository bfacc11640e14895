import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from '@jest/globals';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { deleteSchedule, pauseSchedule } from '@app/engine/store/change-schedules.js';
import { nextSlotDue } from '@app/engine/store/due-schedules.js';
import { deleteOldSlots } from '@app/engine/store/slot-ledger.js';
import { tickSchedules } from '@app/engine/store/tick-schedules.js';
import { firings, schedulesOf, TYPES } from './schedule-fixture.js';
import { openStore, OWNER, type Store } from './store-fixture.js';

let store: Store;
let client: PrismaClient;
let { create, makeDue, slots, jobs, empty } = {} as ReturnType<typeof schedulesOf>;
beforeAll(async () => {
  store = await openStore(4);
  [client] = store.clients as [PrismaClient];
  ({ create, makeDue, slots, jobs, empty } = schedulesOf(client));
});
afterAll(() => store.close());
beforeEach(async () => void (await empty()));
afterEach(() => void jest.useRealTimers());

const tick = (sql = client, limit = 100) => tickSchedules(sql, firings, { limit });

test('feature 27, C69: of four processes that tick at once each slot is fired by one', async () => {
  for (let nth = 0; nth < 30; nth++) await create();
  for (let round = 1; round <= 3; round++) {
    await makeDue();
    const ticks = await Promise.all(
      store.clients.flatMap((sql) => [tick(sql, 7), tick(sql, 7), tick(sql, 7)]),
    );
    // What others held then is taken now.
    ticks.push(await tick());
    expect(ticks.flatMap(({ lateness }) => lateness)).toHaveLength(30);
    const made = await slots();
    expect(made).toHaveLength(30 * round);
    expect(made.filter((slot) => slot.jobs !== 1)).toEqual([]);
  }
});

test('a slot whose row is there is not fired again, whatever the schedule says', async () => {
  await create();
  await makeDue();
  await tick();
  await client.$executeRaw`UPDATE schedules SET next_slot = anchor, next_at = anchor`;
  expect((await tick()).lateness).toEqual([]);
  expect(await jobs()).toHaveLength(1);
});

test('a tick that fails leaves nothing of it: no job, no row, and the slot is due still', async () => {
  await create();
  await makeDue();
  const broken = { ...firings, prepare: () => Promise.reject(new Error('broken')) };
  await expect(tickSchedules(client, broken, { limit: 10 })).rejects.toThrow('broken');
  expect([await slots(), await jobs()]).toEqual([[], []]);
  expect((await tick()).lateness).toHaveLength(1);
});

test('C38: a process whose clock is wrong fires no slot before its time, and none late', async () => {
  const { scheduleId } = await create();
  const doNotFake = [
    'hrtime',
    'nextTick',
    'performance',
    'queueMicrotask',
    'setImmediate',
    'clearImmediate',
    'setInterval',
    'clearInterval',
    'setTimeout',
    'clearTimeout',
  ] as const;
  const wrong = (ms: number) => jest.useFakeTimers({ now: Date.now() + ms, doNotFake: [...doNotFake] });
  // In a minute, and the clock is two ahead.
  await client.$executeRaw`
    UPDATE schedules SET anchor = n.at, next_slot = n.at, next_at = n.at
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) + interval '1 minute' AS at) n`;
  wrong(120_000);
  expect((await tick()).looked).toBe(0);
  const next = await nextSlotDue(client, TYPES, [], 3_600_000);
  expect(next.ms).toBeGreaterThan(50_000);
  expect(next.ms).toBeLessThanOrEqual(60_000);
  jest.useRealTimers();
  wrong(-120_000);
  await makeDue();
  const [lateness = -1] = (await tick()).lateness;
  expect(lateness).toBeGreaterThanOrEqual(0);
  expect(lateness).toBeLessThan(30_000);
  jest.useRealTimers();
  expect(await slots()).toMatchObject([{ id: scheduleId, outcome: 'fired', jobs: 1 }]);
});

test('schedules of types that are unknown here are left to others, and paused ones to nobody', async () => {
  await create({ type: 'other.type' });
  const { scheduleId } = await create();
  await makeDue();
  await pauseSchedule(client, OWNER, scheduleId, { actor: 'key:test', reason: null, until: null });
  expect((await tick()).looked).toBe(0);
  await client.$executeRaw`UPDATE schedules SET next_at = clock_timestamp()`;
  expect(await nextSlotDue(client, ['none'], [], 1000)).toEqual({ ms: 1000, slotsWait: false });
});

test('an owner with as many open jobs as are allowed gets no more by a schedule, and the ledger says why', async () => {
  await create();
  await create();
  await makeDue();
  await tickSchedules(client, { ...firings, most: { jobs: 1, tasks: undefined } }, { limit: 10 });
  expect((await slots()).map(({ outcome }) => outcome).toSorted()).toEqual(['fired', 'missed']);
  expect(await jobs()).toHaveLength(1);
});

test('nothing of a schedule fires after it was deleted, however close a tick is', async () => {
  for (let round = 0; round < 10; round++) {
    const { scheduleId } = await create();
    await makeDue();
    const [deleted] = await Promise.all([
      deleteSchedule(client, OWNER, scheduleId, 'key:test'),
      tick(store.clients[1]),
    ]);
    expect(deleted?.row.scheduleId).toBe(scheduleId);
    const open =
      await client.$queryRaw`SELECT id FROM jobs WHERE schedule_id = ${scheduleId}::uuid AND finished_at IS NULL`;
    expect(open).toEqual([]);
  }
  await client.$executeRaw`UPDATE jobs SET finished_at = clock_timestamp() WHERE finished_at IS NULL`;
});

test('the jitter of a slot is the same whoever asks, and within its bound', async () => {
  const { scheduleId } = await create({ jitterMs: 600_000 });
  const rows = await client.$queryRaw<{ delay: number }[]>`
    SELECT (extract(epoch FROM next_at - next_slot) * 1000)::float8 AS delay FROM schedules WHERE id = ${scheduleId}::uuid`;
  expect(rows[0]?.delay).toBeGreaterThanOrEqual(0);
  expect(rows[0]?.delay).toBeLessThan(600_000);
});

test('feature 53: rows of the ledger are forgotten when they are old', async () => {
  await create();
  await makeDue();
  await tick();
  expect(await deleteOldSlots(client, 60_000, 100)).toBe(0);
  await client.$executeRaw`UPDATE schedule_slots SET decided_at = decided_at - interval '2 minutes'`;
  expect(await deleteOldSlots(client, 60_000, 100)).toBe(1);
});
