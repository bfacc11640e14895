import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { z } from 'zod';
import { type JobStatus, JobType, type ScheduleInput, type SlotRecord, type TaskContext } from '@app/core';
import { Pauses } from '@app/engine/pauses.js';
import { Schedules } from '@app/engine/schedules.js';
import { SchedulePoke } from '@app/engine/schedules/schedule-poke.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

jest.setTimeout(60_000);

const Payload = z.object({ hold: z.boolean().default(false) }).prefault({});

class Held {
  async run({ payload }: { payload: z.infer<typeof Payload> }, ctx: TaskContext) {
    if (!payload.hold) return;
    // Only a test lets it go, by a cancel.
    await new Promise<void>((resolve) =>
      ctx.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
  }
}
@JobType({ name: 'test.held', payload: Payload })
class Plain extends Held {}
@JobType({ name: 'test.alone', payload: Payload, exclusive: true })
class Alone extends Held {}

/** A job type that declares schedules. */
const declaring = (...crons: object[]) => {
  @JobType({ name: 'test.declared', payload: Payload, crons: crons as never })
  class Declared extends Held {}
  return Declared;
};

let database: TestDatabase;
let redis: ReturnType<typeof testRedis>;
let engine: TestEngine;
let schedules: Schedules;
const boot = (jobTypes: (typeof Plain)[] = [Plain, Alone]) =>
  startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes,
    env: { SCHEDULE_MIN_INTERVAL: '1s', MAX_CONCURRENT_TASKS: '8' },
  });

/** Far from any slot, so that only what a test moves is due. */
const YEARLY = { every: '300d' as const, job: { type: 'test.held' } };
const OFTEN = { every: '5m' as const, job: { type: 'test.held' } };
let names = 0;
const create = (input: Omit<ScheduleInput, 'name'>) =>
  schedules.create({ name: `s${++names}`, ...input }, ALICE);
const query = <R = unknown>(text: string) =>
  withClient(database.url, (client) => client.$queryRawUnsafe<R[]>(text));
const move = async (scheduleId: string, at: string, more = '') => {
  await query(`UPDATE schedules SET next_slot = n.at, next_at = n.at ${more}
    FROM (SELECT ${at} AS at) n WHERE id = '${scheduleId}'`);
  engine.app.get(SchedulePoke).poke();
};
/** As if nobody had been there for so many minutes, up to a slot of just now. */
const outage = (scheduleId: string, minutes: number) =>
  move(
    scheduleId,
    `date_trunc('milliseconds', clock_timestamp()) - interval '${minutes} minutes'`,
    ', anchor = n.at',
  );
/** Lets a slot of an interval be due now. */
const due = (scheduleId: string) =>
  move(scheduleId, `date_trunc('milliseconds', clock_timestamp())`, ', anchor = n.at');
const ledger = async (scheduleId: string) =>
  ((await schedules.slots(ALICE.ownerId, scheduleId, { limit: 200 })) ?? []).toReversed();
const outcomes = async (scheduleId: string) => (await ledger(scheduleId)).map(({ outcome }) => outcome);
const rows = (scheduleId: string, count: number) =>
  eventually(async () => {
    const found = await ledger(scheduleId);
    expect(found).toHaveLength(count);
    return found;
  });
const jobOf = (slot: SlotRecord | undefined, statuses: JobStatus[] = ['completed']) =>
  engine.ended(slot?.jobId ?? '', statuses);

beforeAll(async () => {
  database = await createTestDatabase();
  redis = testRedis();
  engine = await boot();
  schedules = engine.app.get(Schedules);
});
afterEach(async () => {
  const made = await schedules.page(ALICE.ownerId, { limit: 200 });
  for (const { scheduleId } of made) await schedules.remove(ALICE.ownerId, scheduleId, ALICE);
  for (const job of (await engine.jobs.page(ALICE.ownerId, { limit: 200 })).jobs) {
    await engine.jobs.cancel(ALICE.ownerId, job.jobId, ALICE);
  }
});
afterAll(async () => {
  await engine.stop();
  await database.drop();
});

test('feature 23, feature 27: of several processes with one schedule each slot makes one job, which carries it', async () => {
  const others = await Promise.all([boot(), boot()]);
  const { scheduleId } = await create({ every: '1s', job: { type: 'test.held' }, maxRuns: 3 });
  await eventually(
    async () =>
      expect(await schedules.find(ALICE.ownerId, scheduleId)).toMatchObject({
        status: 'ended',
        runs: 3,
        next: [],
      }),
    { timeout: 20_000 },
  );
  await Promise.all(others.map((other) => other.stop()));
  const made = await ledger(scheduleId);
  expect(made.filter(({ outcome }) => outcome === 'fired')).toHaveLength(3);
  const jobs = await query<{ jobId: string; slot: Date }>(
    `SELECT id::text AS "jobId", slot FROM jobs WHERE schedule_id = '${scheduleId}' ORDER BY slot`,
  );
  expect(jobs).toEqual(made.filter(({ jobId }) => jobId).map(({ jobId, slot }) => ({ jobId, slot })));
  const job = await jobOf(made[0]);
  expect(job).toMatchObject({ scheduleId, slot: made[0]?.slot, status: 'completed' });
});

test('feature 25, C36: after half an hour without anybody there is one catch-up run, and the next on schedule', async () => {
  const { scheduleId } = await create(OFTEN);
  await outage(scheduleId, 30);
  const [merged, fired] = await rows(scheduleId, 2);
  expect(merged).toMatchObject({ outcome: 'merged', count: 6, jobId: null });
  expect(fired).toMatchObject({ outcome: 'fired', count: 1 });
  await jobOf(fired);
  const after = await schedules.find(ALICE.ownerId, scheduleId);
  expect(after?.runs).toBe(1);
  expect(after?.next[0]?.getTime()).toBeGreaterThan(fired?.slot.getTime() ?? Infinity);
});

test('feature 25: all of the missed slots, or none of them, are made up for where the schedule says so', async () => {
  const all = await create({ ...OFTEN, misfire: 'all', maxCatchUp: 3 });
  const none = await create({ ...OFTEN, misfire: 'skip' });
  await Promise.all([outage(all.scheduleId, 20), outage(none.scheduleId, 20)]);
  expect((await rows(all.scheduleId, 4)).map(({ outcome }) => outcome)).toEqual([
    'missed',
    'fired',
    'fired',
    'fired',
  ]);
  expect((await rows(none.scheduleId, 2)).map(({ outcome, count }) => [outcome, count])).toEqual([
    ['missed', 4],
    ['fired', 1],
  ]);
});

test('a slot that comes while the job before it is open is skipped, merged or waits, as the schedule says', async () => {
  const job = { type: 'test.held', payload: { hold: true } };
  const skip = await create({ ...YEARLY, job, overlap: 'skip' });
  const queue = await create({ ...YEARLY, job, overlap: 'queue-one' });
  const cancel = await create({ ...YEARLY, job, overlap: 'cancel-other' });
  const allow = await create({ ...YEARLY, job, overlap: 'allow' });
  const all = [skip, queue, cancel, allow].map(({ scheduleId }) => scheduleId);
  await Promise.all(all.map(due));
  const first = await Promise.all(all.map(async (id) => (await rows(id, 1))[0]));
  await Promise.all(first.map((slot) => jobOf(slot, ['active'])));
  await Promise.all(all.map(due));
  const [skipped] = (await rows(skip.scheduleId, 2)).slice(1);
  expect(skipped).toMatchObject({ outcome: 'skipped-overlap', blockedBy: first[0]?.jobId, jobId: null });
  expect(await jobOf(first[2], ['canceled'])).toMatchObject({ error: null });
  expect(await outcomes(cancel.scheduleId)).toEqual(['fired', 'fired']);
  expect((await rows(allow.scheduleId, 2)).map(({ outcome }) => outcome)).toEqual(['fired', 'fired']);
  await eventually(async () =>
    expect((await schedules.find(ALICE.ownerId, queue.scheduleId))?.queuedSlot).toBeInstanceOf(Date),
  );
  // Another one does not wait too.
  await due(queue.scheduleId);
  expect((await rows(queue.scheduleId, 2))[1]).toMatchObject({
    outcome: 'merged',
    blockedBy: first[1]?.jobId,
  });
  await engine.jobs.cancel(ALICE.ownerId, first[1]?.jobId ?? '', ALICE);
  const waited = (await rows(queue.scheduleId, 3)).find(({ note }) => note?.startsWith('waited'));
  expect(waited).toMatchObject({ outcome: 'fired' });
  await jobOf(waited, ['active']);
});

test('feature 28: of a type that runs one job at a time a slot is skipped with the id of the open job, and no other one', async () => {
  const { scheduleId } = await create({ ...YEARLY, job: { type: 'test.alone' } });
  const { job } = await engine.jobs.submit({ type: 'test.alone', payload: { hold: true } }, ALICE);
  await due(scheduleId);
  expect((await rows(scheduleId, 1))[0]).toMatchObject({
    outcome: 'skipped-overlap',
    blockedBy: job.jobId,
    note: 'a job that must end first is open',
  });
  await expect(schedules.trigger(ALICE.ownerId, scheduleId, ALICE)).rejects.toThrow(job.jobId);
  await engine.jobs.cancel(ALICE.ownerId, job.jobId, ALICE);
  // A short job is over before the next slot: each of them runs.
  for (const nth of [2, 3]) {
    await due(scheduleId);
    await jobOf((await rows(scheduleId, nth)).at(-1));
  }
  expect(await outcomes(scheduleId)).toEqual(['skipped-overlap', 'fired', 'fired']);
});

test('a paused schedule fires nothing and says what it skipped; triggered, it runs all the same', async () => {
  const { scheduleId } = await create(OFTEN);
  const paused = await schedules.pause(ALICE.ownerId, scheduleId, {
    actor: 'key:ops',
    reason: 'repairs',
    until: null,
  });
  expect(paused).toMatchObject({
    status: 'paused',
    pause: { actor: 'key:ops', reason: 'repairs', until: null },
  });
  const job = await schedules.trigger(ALICE.ownerId, scheduleId, ALICE);
  expect(job).toMatchObject({ scheduleId, status: 'queued' });
  await engine.ended(job?.jobId ?? '');
  await query(`UPDATE schedules SET anchor = n.at, next_slot = n.at
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) - interval '52 minutes' AS at) n WHERE id = '${scheduleId}'`);
  const resumed = await schedules.resume(ALICE.ownerId, scheduleId);
  expect(resumed).toMatchObject({ status: 'active', pause: null, runs: 0 });
  const [skipped, triggered] = await ledger(scheduleId);
  expect(skipped).toMatchObject({ outcome: 'skipped-paused', jobId: null, count: 11 });
  expect(triggered).toMatchObject({
    outcome: 'fired',
    triggeredBy: ALICE.actor,
    jobId: job?.jobId,
    jobStatus: 'completed',
  });
});

test('a pause ends by itself at its time', async () => {
  const { scheduleId } = await create(OFTEN);
  const until = new Date(Date.now() + 600_000);
  await schedules.pause(ALICE.ownerId, scheduleId, { actor: 'key:ops', reason: null, until });
  // Ten minutes later: two slots of the pause, and none after it yet.
  await query(`UPDATE schedules SET anchor = n.at, next_slot = n.at,
    paused_until = clock_timestamp() - interval '1 ms', next_at = clock_timestamp() - interval '1 ms'
    FROM (SELECT date_trunc('milliseconds', clock_timestamp()) - interval '9 minutes' AS at) n WHERE id = '${scheduleId}'`);
  engine.app.get(SchedulePoke).poke();
  const [skipped] = await rows(scheduleId, 1);
  expect(skipped).toMatchObject({ outcome: 'skipped-paused', count: 2 });
  expect(await schedules.find(ALICE.ownerId, scheduleId)).toMatchObject({ status: 'active', pause: null });
});

test('feature 26: a changed or deleted schedule drops what has not begun, and lets what runs finish', async () => {
  const hold = { type: 'test.held', payload: { hold: true } };
  const changed = await create({ ...YEARLY, job: hold });
  await due(changed.scheduleId);
  const running = await jobOf((await rows(changed.scheduleId, 1))[0], ['active']);
  const pauses = engine.app.get(Pauses);
  await pauses.pause({ kind: 'type', name: 'test.held', actor: 'key:ops', reason: null, until: null });
  await due(changed.scheduleId);
  const pending = (await rows(changed.scheduleId, 2))[1];
  const after = await schedules.change(ALICE.ownerId, changed.scheduleId, { every: '1h' }, ALICE);
  expect(after).toMatchObject({ cron: null, every: '1h', version: 2 });
  expect(await jobOf(pending, ['canceled'])).toMatchObject({
    cancelReceipt: { reason: 'the schedule was changed' },
  });
  // What does not change the slots or the jobs drops nothing.
  const again = await schedules.trigger(ALICE.ownerId, changed.scheduleId, ALICE);
  await schedules.change(ALICE.ownerId, changed.scheduleId, { overlap: 'skip' }, ALICE);
  expect((await engine.jobs.find(ALICE.ownerId, again?.jobId ?? ''))?.status).toBe('queued');
  await due(changed.scheduleId);
  await schedules.remove(ALICE.ownerId, changed.scheduleId, ALICE);
  expect(await engine.ended(again?.jobId ?? '')).toMatchObject({ status: 'canceled' });
  expect(await engine.jobs.find(ALICE.ownerId, running.jobId)).toMatchObject({ status: 'active' });
  await pauses.resume('type', 'test.held', { actor: 'key:ops' });
  expect(
    await query(`SELECT id FROM jobs WHERE schedule_id = '${changed.scheduleId}' AND finished_at IS NULL`),
  ).toHaveLength(1);
});

test('feature 35: a job that has not begun in time makes its slot late, and its ledger says so', async () => {
  const pauses = engine.app.get(Pauses);
  await pauses.pause({ kind: 'type', name: 'test.held', actor: 'key:ops', reason: null, until: null });
  const late = await create({ ...YEARLY, checkinMargin: '1s' });
  const prompt = await create({ ...YEARLY, job: { type: 'test.alone' }, checkinMargin: '1h' });
  await Promise.all([due(late.scheduleId), due(prompt.scheduleId)]);
  await eventually(async () => expect(await outcomes(late.scheduleId)).toEqual(['late']));
  const [slot] = await ledger(late.scheduleId);
  await pauses.resume('type', 'test.held', { actor: 'key:ops' });
  await jobOf(slot);
  const events = await engine.jobs.events(ALICE.ownerId, slot?.jobId ?? '', { limit: 50 });
  expect(events?.map(({ kind }) => kind)).toContain('job.late');
  expect(await outcomes(prompt.scheduleId)).toEqual(['fired']);
});

test('feature 34: a job of a schedule ends when it has run longer than the schedule allows', async () => {
  const job = { type: 'test.held', payload: { hold: true } };
  const { scheduleId } = await create({ ...YEARLY, job, maxRuntime: '200ms' });
  await due(scheduleId);
  expect(await jobOf((await rows(scheduleId, 1))[0], ['failed'])).toMatchObject({
    error: { code: 'timeout' },
  });
});

test('feature 26, feature 27: schedules of the code are those of the process that was started last, and stay paused', async () => {
  const nightly = { name: 'nightly', cron: '0 2 * * *', timezone: 'Europe/Berlin', owner: ALICE.ownerId };
  const hourly = { name: 'hourly', cron: '0 * * * *', owner: ALICE.ownerId };
  const byName = async () =>
    new Map(
      (await schedules.page(ALICE.ownerId, { limit: 10 })).map((schedule) => [schedule.name, schedule]),
    );
  const first = await Promise.all([boot([declaring(nightly, hourly)]), boot([declaring(nightly, hourly)])]);
  const made = await eventually(async () => {
    const found = await byName();
    expect(found.size).toBe(2);
    return found;
  });
  expect(made.get('nightly')).toMatchObject({
    declared: true,
    timezone: 'Europe/Berlin',
    job: { type: 'test.declared' },
  });
  const { scheduleId } = made.get('nightly')!;
  await expect(schedules.change(ALICE.ownerId, scheduleId, { cron: '0 3 * * *' }, ALICE)).rejects.toThrow(
    'declares',
  );
  await expect(schedules.remove(ALICE.ownerId, scheduleId, ALICE)).rejects.toThrow('declares');
  await schedules.pause(ALICE.ownerId, scheduleId, { actor: 'key:ops', reason: 'repairs', until: null });
  const next = await boot([declaring({ ...nightly, cron: '30 2 * * *' })]);
  await eventually(async () => {
    const found = await byName();
    expect(found.get('nightly')).toMatchObject({ cron: '30 2 * * *', status: 'paused', scheduleId });
    expect(found.get('hourly')).toMatchObject({ status: 'retired', next: [] });
  });
  const last = await boot([declaring({ ...nightly, cron: '30 2 * * *' }, hourly)]);
  await eventually(async () => expect((await byName()).get('hourly')).toMatchObject({ status: 'active' }));
  const none = await boot();
  await eventually(async () => expect((await byName()).get('nightly')).toMatchObject({ status: 'retired' }));
  await Promise.all([...first, next, last, none].map((one) => one.stop()));
});
