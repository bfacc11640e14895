import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { z } from 'zod';
import { JobType, type ScheduleInput, type TaskContext } from '@app/core';
import { EngineHealth } from '@app/engine/execution/engine-health.js';
import { LivePoke } from '@app/engine/live/live-poke.js';
import { Pauses } from '@app/engine/pauses.js';
import { Schedules } from '@app/engine/schedules.js';
import { SchedulePoke } from '@app/engine/schedules/schedule-poke.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { setImmediate as turn } from 'node:timers/promises';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

const Payload = z.object({ hold: z.boolean().default(false) }).prefault({});

@JobType({ name: 'test.held', payload: Payload })
class Held {
  async run({ payload }: { payload: z.infer<typeof Payload> }, ctx: TaskContext) {
    if (!payload.hold) return;
    await new Promise<void>((resolve) =>
      ctx.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
  }
}
@JobType({
  name: 'test.declared',
  payload: Payload,
  crons: [{ name: 'spoiled', cron: '0 2 * * *', owner: ALICE.ownerId }],
})
class Declared extends Held {}

let database: TestDatabase;
let redis: ReturnType<typeof testRedis>;
let engine: TestEngine;
let schedules: Schedules;
const boot = (...jobTypes: (typeof Held)[]) => startEngine({ databaseUrl: database.url, redis, jobTypes });
const query = <R = unknown>(text: string) =>
  withClient(database.url, (client) => client.$queryRawUnsafe<R[]>(text));
let names = 0;
const create = (input: Partial<ScheduleInput> = {}, by = schedules) =>
  by.create({ name: `s${++names}`, every: '300d', job: { type: 'test.held' }, ...input }, ALICE);
const due = async (scheduleId: string, from = engine) => {
  await query(`UPDATE schedules SET next_slot = n.at, next_at = n.at, anchor = n.at
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) AS at) n WHERE id = '${scheduleId}'`);
  from.app.get(SchedulePoke).poke();
};
const ledger = async (scheduleId: string) =>
  (await schedules.slots(ALICE.ownerId, scheduleId, { limit: 200 })) ?? [];
const firstRow = (scheduleId: string) =>
  eventually(async () => {
    const [row] = await ledger(scheduleId);
    expect(row).toBeDefined();
    return row;
  });

beforeAll(async () => {
  database = await createTestDatabase();
  redis = testRedis();
  engine = await boot(Held);
  schedules = engine.app.get(Schedules);
});
afterEach(async () => {
  jest.restoreAllMocks();
  await query(`DELETE FROM schedules`);
  for (const job of (await engine.jobs.page(ALICE.ownerId, { limit: 200 })).jobs) {
    await engine.jobs.cancel(ALICE.ownerId, job.jobId, ALICE);
  }
});
afterAll(async () => {
  await engine.stop();
  await database.drop();
});

test('schedules that cannot be read hold up no other one, however many are due or have a slot that waits', async () => {
  const [broken, sound] = [await create({ every: undefined, cron: '0 * * * *' }), await create()];
  const copies = (count: number, times: string) => `
    INSERT INTO schedules (id, owner_id, name, created_by, cron, timezone, anchor, type, template, misfire, max_catch_up,
      catch_up_window_ms, overlap, next_slot, next_at, queued_slot)
    SELECT gen_random_uuid(), owner_id, name || ' ' || n || ' ' || random(), created_by, cron, 'Mars/Base', anchor, type, template,
      misfire, max_catch_up, catch_up_window_ms, overlap, ${times}
    FROM schedules, generate_series(1, ${count}) n WHERE id = '${broken.scheduleId}'`;
  const before = `now() - interval '1 hour'`;
  await query(copies(101, `${before}, ${before}, NULL`));
  await query(copies(2, `NULL, NULL, ${before}`));
  await due(sound.scheduleId);
  expect(await firstRow(sound.scheduleId)).toMatchObject({ outcome: 'fired' });
  expect(await query(`SELECT slot FROM schedule_slots WHERE schedule_id <> '${sound.scheduleId}'`)).toEqual(
    [],
  );
});

test('declared schedules that cannot be written keep no other one from firing, and are tried again', async () => {
  await query(`ALTER TABLE schedules ADD CONSTRAINT spoils CHECK (name <> 'spoiled')`);
  const other = await boot(Declared);
  const { scheduleId } = await create({ job: { type: 'test.declared' } }, other.app.get(Schedules));
  await due(scheduleId, other);
  expect(await firstRow(scheduleId)).toMatchObject({ outcome: 'fired' });
  await query(`ALTER TABLE schedules DROP CONSTRAINT spoils`);
  await eventually(async () =>
    expect(await query(`SELECT name FROM schedules WHERE declared IS NOT NULL`)).toEqual([
      { name: 'spoiled' },
    ]),
  );
  await other.stop();
});

test('who listens live is told of what ticks, triggers and deletes have done', async () => {
  const pauses = engine.app.get(Pauses);
  await pauses.pause({ kind: 'type', name: 'test.held', actor: 'key:ops', reason: null, until: null });
  const told = jest.spyOn(engine.app.get(LivePoke), 'poke');
  const { scheduleId } = await create();
  await due(scheduleId);
  await firstRow(scheduleId);
  await eventually(() => expect(told).toHaveBeenCalled());
  told.mockClear();
  await schedules.trigger(ALICE.ownerId, scheduleId, ALICE);
  expect(told).toHaveBeenCalled();
  told.mockClear();
  await schedules.remove(ALICE.ownerId, scheduleId, ALICE);
  expect(told).toHaveBeenCalled();
  await pauses.resume('type', 'test.held', { actor: 'key:ops' });
});

test('however many jobs end while a slot waits, the ticker looks at intervals', async () => {
  const { scheduleId } = await create({
    overlap: 'queue-one',
    job: { type: 'test.held', payload: { hold: true } },
  });
  await due(scheduleId);
  await firstRow(scheduleId);
  await due(scheduleId);
  await eventually(async () =>
    expect((await schedules.find(ALICE.ownerId, scheduleId))?.queuedSlot).toBeInstanceOf(Date),
  );
  const signs = jest.spyOn(engine.app.get(EngineHealth), 'sign');
  const looks = () => signs.mock.calls.filter(([loop]) => loop === 'ticker').length;
  const pokes = engine.app.get(SchedulePoke);
  const began = performance.now();
  while (looks() < 10) {
    pokes.jobEnded();
    await turn();
  }
  expect(performance.now() - began).toBeGreaterThan(8 * 50);
});
