import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Schedules } from '@app/engine/schedules.js';
import { SchedulePoke } from '@app/engine/schedules/schedule-poke.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { type TestRedis, testRedis } from '../support/redis.js';
import { CASE_TYPES, runsOf, sql } from './probe.js';

jest.setTimeout(120_000);
const PATIENCE = { timeout: 40_000 };

let database: TestDatabase;
let redis: TestRedis;
let api: TestEngine;
let schedules: Schedules;
const boot = (executes = true) =>
  startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes: CASE_TYPES,
    executes,
    env: { SCHEDULE_MIN_INTERVAL: '1s', LEASE: '6s' },
  });
const job = { type: 'case.work', payload: {} };
const ledger = async (scheduleId: string) =>
  ((await schedules.slots(ALICE.ownerId, scheduleId, { limit: 200 })) ?? []).toReversed();

beforeAll(async () => {
  database = await createTestDatabase();
  redis = testRedis();
  api = await boot(false);
  schedules = api.app.get(Schedules);
});
afterAll(async () => {
  await api.stop();
  await database.drop();
});

test('C36: when everybody was away for half an hour there is one catch-up run, the next on schedule, and no burst', async () => {
  const { scheduleId } = await schedules.create({ name: 'often', every: '5m', job }, ALICE);
  await sql(
    database.url,
    `UPDATE schedules SET next_slot = n.at, next_at = n.at, anchor = n.at
     FROM (SELECT date_trunc('milliseconds', clock_timestamp()) - interval '30 minutes' AS at) n`,
  );
  const workers = await Promise.all([boot(), boot()]);
  const [merged, fired] = await eventually(async () => {
    const found = await ledger(scheduleId);
    expect(found).toHaveLength(2);
    return found;
  }, PATIENCE);
  expect([merged?.outcome, merged?.count, fired?.outcome]).toEqual(['merged', 6, 'fired']);
  await api.ended(fired?.jobId ?? '');
  const next = (await schedules.find(ALICE.ownerId, scheduleId))?.next[0];
  expect(next?.getTime()).toBe(fired!.slot.getTime() + 300_000);
  expect(await ledger(scheduleId)).toHaveLength(2);
  await schedules.remove(ALICE.ownerId, scheduleId, ALICE);
  await Promise.all(workers.map((worker) => worker.stop()));
});

test('C69: however often processes stop and start, a schedule keeps its rate, and a delayed job and a retry run once', async () => {
  const { scheduleId } = await schedules.create({ name: 'steady', every: '1s', job }, ALICE);
  const { job: delayed } = await api.jobs.submit({ ...job, runAt: new Date(Date.now() + 3000) }, ALICE);
  for (let nth = 0; nth < 4; nth++) {
    const workers = await Promise.all([boot(), boot()]);
    api.app.get(SchedulePoke).poke();
    await eventually(async () => expect((await ledger(scheduleId)).length).toBeGreaterThan(nth), PATIENCE);
    await Promise.all(workers.map((worker) => worker.stop()));
  }
  const last = await boot();
  const before = (await ledger(scheduleId)).length;
  await eventually(
    async () => expect((await ledger(scheduleId)).length).toBeGreaterThanOrEqual(before + 3),
    PATIENCE,
  );
  await schedules.remove(ALICE.ownerId, scheduleId, ALICE);
  expect(await sql(database.url, `SELECT id FROM schedules`)).toEqual([]);
  const jobs = await sql<{ id: string; slot: Date }>(
    database.url,
    `SELECT id::text AS id, slot FROM jobs WHERE schedule_id = '${scheduleId}' ORDER BY slot`,
  );
  // Each second has its slot once, whether it was fired or stands in a stretch of missed ones.
  const rows = await sql<{ slot: Date; count: number; outcome: string; jobs: number }>(
    database.url,
    `SELECT slot, count, outcome, (SELECT count(*)::int FROM jobs j WHERE j.schedule_id = x.schedule_id AND j.slot = x.slot) AS jobs
     FROM schedule_slots x WHERE schedule_id = '${scheduleId}' ORDER BY slot`,
  );
  const [first, latest] = [rows[0]!, rows.at(-1)!];
  const seconds = (latest.slot.getTime() - first.slot.getTime()) / 1000 + latest.count;
  expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(seconds);
  expect(rows.filter((row) => row.jobs !== (row.outcome === 'fired' ? 1 : 0))).toEqual([]);
  expect(new Set(jobs.map(({ slot }) => slot.getTime())).size).toBe(jobs.length);
  await api.ended(delayed.jobId, undefined, PATIENCE);
  expect(runsOf(delayed.jobId)).toHaveLength(1);
  await last.stop();
});
