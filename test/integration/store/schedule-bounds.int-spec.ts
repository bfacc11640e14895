import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { InvalidJobError } from '@app/core';
import type { Prisma, PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import {
  changeSchedule,
  createSchedule,
  pauseSchedule,
  resumeSchedule,
} from '@app/engine/store/change-schedules.js';
import { declareSchedules } from '@app/engine/store/declare-schedules.js';
import { dueStatement, findDue, nextSlotDue, nextStatement } from '@app/engine/store/due-schedules.js';
import { pageOfSlots, type SlotFilter, slotsStatement } from '@app/engine/store/schedule-queries.js';
import { type Firings, tickSchedules } from '@app/engine/store/tick-schedules.js';
import { triggerSchedule } from '@app/engine/store/trigger-schedule.js';
import { firings, RULE, schedulesOf, TYPES } from './schedule-fixture.js';
import { LIFE, newJob, openStore, OWNER, type Store } from './store-fixture.js';

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

const tick = () => tickSchedules(client, firings, { limit: 100 });
/** Jobs of so many tasks. */
const sized = (tasks: number): Firings => ({
  ...firings,
  prepare: async ({ schedule: { scheduleId, ownerId }, slot, jobId }) =>
    newJob({ jobId, ownerId, direct: 0, schedule: { scheduleId, slot }, tasks }),
});

/** Of a statement as the code runs it: how many rows and index entries were read, and the plan. */
async function readsOf(statement: Prisma.Sql) {
  const [row] = await client.$queryRaw<{ 'QUERY PLAN': { Plan: PlanNode }[] }[]>`
    EXPLAIN (ANALYZE, FORMAT JSON) ${statement}`;
  const nodes = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodes)];
  const all = nodes(row!['QUERY PLAN'][0]!.Plan);
  const read = all
    .filter((node) => node['Relation Name'])
    .map((node) => (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']);
  return {
    rows: read.reduce((sum, more) => sum + more, 0),
    indexes: all.map((node) => node['Index Name']).filter((name) => name !== undefined),
  };
}
interface PlanNode {
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: PlanNode[];
}
const many = (type: string, nextAt: string) =>
  client.$executeRawUnsafe(`
  INSERT INTO schedules (id, owner_id, name, created_by, every_ms, timezone, anchor, type, template, misfire, max_catch_up,
    catch_up_window_ms, overlap, next_slot, next_at)
  SELECT gen_random_uuid(), 'many', '${type} ' || n, 'key:test', 3600000, 'UTC', now(), '${type}', '{}', 'latest', 1, 1000, 'allow',
    ${nextAt}, ${nextAt} FROM generate_series(1, 10000) n`);

test('a look at what is due reads what is due of its types, however many schedules there are of those and of others', async () => {
  await many('test.type', `now() + interval '1 day'`);
  await many('other.type', `now() - interval '1 hour'`);
  await create();
  await client.$executeRaw`UPDATE schedules SET next_at = now() WHERE owner_id = ${OWNER}`;
  await client.$executeRaw`ANALYZE schedules`;
  for (const statement of [dueStatement(TYPES, { limit: 100, except: [] }), nextStatement(TYPES, [])]) {
    const { rows, indexes } = await readsOf(statement);
    expect(indexes).toContain('schedules_due');
    expect(rows).toBeLessThan(10);
  }
});

test('a page of a ledger reads its rows and no more, whatever it asks for', async () => {
  const { scheduleId } = await create();
  // A row a minute up to now; every hundredth is a stretch, and two are of an outcome of their own.
  await client.$executeRaw`
    INSERT INTO schedule_slots (schedule_id, slot, until, count, outcome, decided_at)
    SELECT ${scheduleId}::uuid, t.at, CASE WHEN n % 100 = 0 THEN t.at + interval '30 s' END, 1,
      CASE WHEN n IN (5000, 19000) THEN 'late' ELSE 'fired' END, now()
    FROM generate_series(1, 20000) n CROSS JOIN LATERAL (SELECT date_trunc('minute', now()) - make_interval(mins => n) AS at) t`;
  await client.$executeRaw`ANALYZE schedule_slots`;
  const [first] = await client.$queryRaw<{ slot: Date }[]>`
    SELECT slot FROM schedule_slots WHERE schedule_id = ${scheduleId}::uuid ORDER BY slot DESC LIMIT 1`;
  const from = new Date(first!.slot.getTime() - 9999 * 60_000 + 10_000);
  const asked: [SlotFilter, number][] = [
    [{}, 10],
    [{ from }, 10],
    [{ from, to: new Date(from.getTime() + 1000) }, 1],
    [{ outcomes: ['late'] }, 2],
    [{ outcomes: ['late'], from }, 1],
    [{ outcomes: ['missed'] }, 0],
  ];
  for (const [filter, found] of asked) {
    expect(await pageOfSlots(client, OWNER, scheduleId, 10, filter)).toHaveLength(found);
    expect((await readsOf(slotsStatement(scheduleId, 10, filter))).rows).toBeLessThan(50);
  }
  expect(await pageOfSlots(client, 'somebody-else', scheduleId, 10, {})).toBeUndefined();
});

test('a tick makes no more tasks than one statement takes, and the rest of what is due stays due', async () => {
  const rule = { everyMs: 60_000, misfire: 'all' as const, maxCatchUp: 5 };
  for (let nth = 0; nth < 2; nth++) await create(rule);
  // Seven slots of each have come.
  await client.$executeRaw`
    UPDATE schedules SET anchor = n.at, next_slot = n.at, next_at = n.at
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) - interval '390 s' AS at) n`;
  const made = [];
  for (let nth = 0; nth < 20 && made.at(-1) !== 0; nth++) {
    const before = (await jobs()).length;
    await tickSchedules(client, sized(400), { limit: 100 });
    made.push((await jobs()).length - before);
  }
  expect(made).toEqual([2, 2, 2, 2, 2, 0]);
  const ledger = await slots();
  expect(ledger.map(({ outcome }) => outcome).toSorted()).toEqual([
    ...Array(10).fill('fired'),
    ...Array(2).fill('missed'),
  ]);
  expect(ledger.filter((slot) => slot.jobs !== (slot.outcome === 'fired' ? 1 : 0))).toEqual([]);
  // A job that is too large for any tick goes alone.
  await makeDue();
  const before = (await jobs()).length;
  expect((await tickSchedules(client, sized(1500), { limit: 100 })).looked).toBe(1);
  expect((await tickSchedules(client, sized(1500), { limit: 100 })).looked).toBe(1);
  expect((await jobs()).length - before).toBe(2);
});

test('what is put aside is neither found nor counted as due, whether its time has come or its slot waits', async () => {
  const [broken, waiting, sound] = [await create(), await create({ overlap: 'queue-one' }), await create()];
  await makeDue();
  await client.$executeRaw`
    UPDATE schedules SET queued_slot = next_slot, next_at = next_at + interval '1 hour' WHERE id = ${waiting.scheduleId}::uuid`;
  const find = (except: string[]) => findDue(client, TYPES, { limit: 10, except });
  const all = [broken, waiting, sound].map(({ scheduleId }) => scheduleId);
  expect((await find([])).toSorted()).toEqual(all.toSorted());
  expect(await find([broken.scheduleId, waiting.scheduleId])).toEqual([sound.scheduleId]);
  expect(await findDue(client, TYPES, { limit: 1, except: [broken.scheduleId, waiting.scheduleId] })).toEqual(
    [sound.scheduleId],
  );
  expect(await findDue(client, ['other.type'], { limit: 10 })).toEqual([]);
  expect(await nextSlotDue(client, TYPES, all, 1000)).toEqual({ ms: 1000, slotsWait: false });
  expect((await nextSlotDue(client, TYPES, [], 1000)).slotsWait).toBe(true);
  expect((await nextSlotDue(client, ['other.type'], [], 1000)).slotsWait).toBe(false);
});

test('an owner with as many open tasks as are allowed gets no more by a schedule', async () => {
  for (let nth = 0; nth < 3; nth++) await create();
  await create({}, 'somebody-else');
  await makeDue();
  await tickSchedules(client, { ...firings, most: { jobs: undefined, tasks: 2 } }, { limit: 10 });
  expect((await slots()).map(({ outcome }) => outcome).toSorted()).toEqual([
    'fired',
    'fired',
    'fired',
    'missed',
  ]);
  await makeDue();
  await tickSchedules(client, { ...firings, most: { jobs: undefined, tasks: 2 } }, { limit: 10 });
  expect(await jobs()).toHaveLength(4);
});

test('an open job is not canceled for a slot whose job is refused, nor for one whose key somebody else holds', async () => {
  const dedupe = [{ scope: 'type', key: randomUUID() }];
  const keyed: Firings = {
    ...firings,
    prepare: async (firing) => ({ ...((await firings.prepare(firing)) as NewJob), dedupe }),
  };
  const refusing: Firings = { ...firings, prepare: async () => 'refused' };
  const { scheduleId } = await create({ overlap: 'cancel-other' });
  await makeDue();
  await tick();
  await makeDue();
  expect((await tickSchedules(client, refusing, { limit: 10 })).canceled).toEqual([]);
  const other = newJob({ dedupe });
  await acceptJobs(client, [other], LIFE);
  await makeDue();
  expect((await tickSchedules(client, keyed, { limit: 10 })).canceled).toEqual([]);
  expect((await slots()).map(({ outcome }) => outcome).toSorted()).toEqual([
    'fired',
    'missed',
    'skipped-overlap',
  ]);
  await cancelJob(client, OWNER, other.jobId, { actor: 'key:test' });
  // A key that its own open job holds is made free.
  for (let nth = 0; nth < 2; nth++) {
    await makeDue();
    expect((await tickSchedules(client, keyed, { limit: 10 })).canceled).toHaveLength(1);
  }
  const open = await client.$queryRaw`
    SELECT id FROM jobs WHERE schedule_id = ${scheduleId}::uuid AND finished_at IS NULL`;
  expect(open).toHaveLength(1);
});

test('C33: a slot in place of times that the clocks skip is called so also when it had to wait', async () => {
  const { scheduleId } = await create({
    cron: '30 2 * * *',
    everyMs: null,
    timezone: 'Europe/Berlin',
    overlap: 'queue-one',
  });
  await client.$executeRaw`
    UPDATE schedules SET queued_slot = '2026-03-29T01:00:00Z' WHERE id = ${scheduleId}::uuid`;
  expect((await tick()).lateness).toEqual([]);
  expect(await slots()).toMatchObject([{ outcome: 'dst-gap', jobs: 1 }]);
});

test('a schedule whose rule cannot be read here can be changed and dropped, and is not resumed', async () => {
  const { scheduleId } = await create({ cron: '0 * * * *', everyMs: null });
  await pauseSchedule(client, OWNER, scheduleId, { actor: 'key:test', reason: null, until: null });
  await client.$executeRaw`UPDATE schedules SET timezone = 'Mars/Base'`;
  await expect(resumeSchedule(client, OWNER, scheduleId)).rejects.toThrow(InvalidJobError);
  const by = { actor: 'key:test', incarnation: LIFE, prepare: firings.prepare as () => Promise<NewJob> };
  await expect(triggerSchedule(client, OWNER, scheduleId, by)).rejects.toThrow(InvalidJobError);
  const rule = { ...RULE, name: 'read again', cron: '0 * * * *', everyMs: null };
  const changed = await changeSchedule(client, OWNER, scheduleId, async () => rule, 'key:test');
  expect(changed?.row).toMatchObject({ timezone: 'UTC', nextSlot: expect.any(Date) });
});

test('a declaration that is gone is retired, also when its rule cannot be read here', async () => {
  const rule = { ...RULE, name: randomUUID() };
  await declareSchedules(client, [{ ownerId: OWNER, rule, hash: 'one' }], 'code');
  await client.$executeRaw`UPDATE schedules SET cron = '0 0 * * *', every_ms = NULL, timezone = 'Mars/Base'`;
  expect((await declareSchedules(client, [], 'code')).retired).toEqual([rule.name]);
});

test('an owner has no more schedules than are allowed, however many are made at once', async () => {
  const rules = Array.from({ length: 12 }, () => ({ ...RULE, name: randomUUID() }));
  const made = await Promise.allSettled(
    rules.map((rule, nth) =>
      createSchedule(store.clients[nth % store.clients.length]!, OWNER, rule, 'key:test', { most: 3 }),
    ),
  );
  expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
});
