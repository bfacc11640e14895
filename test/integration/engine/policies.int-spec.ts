import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { Explainer } from '@app/engine/explain.js';
import { Pauses } from '@app/engine/pauses.js';
import { Admission } from '@app/engine/queue/admission.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

const Payload = z.object({
  name: z.string(),
  ms: z.number().default(5),
  stopMs: z.number().default(0),
  gated: z.boolean().default(false).describe('until the test lets it go'),
});
type Payload = z.infer<typeof Payload>;

/** Every start of a task, in order. */
const starts: { name: string; type: string; jobId: string; at: number }[] = [];
const running = new Map<string, number>();
const most = new Map<string, number>();
/** Ends the gated task that has waited longest. */
const gated: (() => void)[] = [];

class Noted {
  async run({ payload }: TaskView<Payload>, ctx: TaskContext) {
    const { type, jobId } = ctx.job;
    starts.push({ name: payload.name, type, jobId, at: performance.now() });
    running.set(type, (running.get(type) ?? 0) + 1);
    most.set(type, Math.max(most.get(type) ?? 0, running.get(type) ?? 0));
    const open = new AbortController();
    if (payload.gated) gated.push(() => open.abort());
    const wait = payload.gated
      ? once(open.signal, 'abort', { signal: ctx.signal })
      : delay(payload.ms, undefined, { signal: ctx.signal });
    await wait
      .catch(async (error: Error) => {
        // It cannot let go at once.
        await delay(payload.stopMs);
        throw error;
      })
      .finally(() => running.set(type, (running.get(type) ?? 0) - 1));
  }
}

@JobType({ name: 'test.plain', payload: Payload })
class Plain extends Noted {}
@JobType({ name: 'test.few', payload: Payload, concurrency: 2 })
class Few extends Noted {}
@JobType({ name: 'test.rated', payload: Payload, rateLimit: { max: 3, per: '1s' } })
class Rated extends Noted {}
@JobType({ name: 'test.in-turn', payload: Payload, exclusive: 'queue' })
class InTurn extends Noted {}
@JobType({ name: 'test.disk', payload: Payload, tag: 'disk' })
class Disk extends Noted {}

const BOB = { ownerId: 'bob', actor: 'key:bob' };
const FOREVER = 60_000;
const namesOf = (type: string) => starts.filter((start) => start.type === type).map(({ name }) => name);
let database: TestDatabase;
let engine: TestEngine;
let redis: ReturnType<typeof testRedis>;
const boot = (env: Record<string, string> = {}) =>
  startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes: [Plain, Few, Rated, InTurn, Disk],
    env: { SWEEP_INTERVAL: '100ms', ...env },
  });
const submit = (
  type: string,
  payload: { name: string; ms?: number; stopMs?: number; gated?: boolean },
  over: object = {},
  by = ALICE,
) => engine.jobs.submit({ type: `test.${type}`, payload, ...over }, by).then(({ job }) => job.jobId);
const ask = (text: string) =>
  onDatabase(database.url, async (client) => (await client.query<{ it: string }>(text)).rows[0]?.it);
const hasStarted = (name: string) => starts.some((start) => start.name === name);
const started = (name: string) => eventually(() => expect(starts.map((start) => start.name)).toContain(name));
/** Waits until the reasons that hold a job are so: where Redis does not answer at once, that is the first one. */
const explained = (job: string, expected: object) =>
  eventually(async () =>
    expect(await engine.app.get(Explainer).explain('alice', job)).toMatchObject(expected),
  );
const FULL = { admitted: 0, more: false, waiting: true };
/** Waits until no more is admitted: as many messages wait in Redis as may. */
const full = () => eventually(async () => expect(await engine.app.get(Admission).pass()).toEqual(FULL));
/** Submits jobs of this name and a number until as many messages wait in Redis as may, and one for its turn. */
const fill = async (name: string) => {
  const jobs: string[] = [];
  await eventually(async () => {
    jobs.push(await submit('plain', { name: `${name} ${jobs.length}` }));
    expect(await engine.app.get(Admission).pass()).toEqual(FULL);
  });
  return jobs;
};
/** When it was last noted how full the queues are. */
const looked = () => ask('SELECT max(looked_at)::text AS it FROM queues');
/** The jobs of which something waits in Postgres for its turn. */
const held = () =>
  onDatabase(database.url, async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `SELECT DISTINCT job_id::text AS id FROM dispatch WHERE gate = 'held'`,
    );
    return rows.map(({ id }) => id);
  });

beforeAll(async () => {
  database = await createTestDatabase();
  redis = testRedis();
});
afterEach(async () => {
  for (const end of gated.splice(0)) end();
  await engine?.stop();
});
afterAll(() => database?.drop());

describe('the order of tasks', () => {
  test('is by priority, among equals by age, but for the few that were sent before (feature 48)', async () => {
    engine = await boot({ MAX_CONCURRENT_TASKS: '1' });
    const blocker = await submit('plain', { name: 'blocker', ms: FOREVER });
    await started('blocker');
    // What waits in Redis is past all order.
    const low = await fill('low');
    for (let n = 0; n < 3; n++) low.push(await submit('plain', { name: `low ${low.length}` }));
    const higher = await submit('plain', { name: 'higher' }, { priority: 5 });
    const lowest = await submit('plain', { name: 'lowest' }, { priority: -5 });
    const highest = await submit('plain', { name: 'highest' }, { priority: 9 });
    await full();
    const waiting = new Set(await held());
    expect(waiting.size).toBeGreaterThan(4);
    await engine.jobs.cancel('alice', blocker, ALICE);
    for (const job of [...low, higher, lowest, highest]) await engine.ended(job);
    const order = starts.map(({ jobId }) => jobId).filter((jobId) => waiting.has(jobId));
    expect(order).toEqual([highest, higher, ...low, lowest].filter((jobId) => waiting.has(jobId)));
  });

  test('takes turns between owners: the many tasks of one keep another back for a few dispatches only', async () => {
    // The window may still be wide from the quick tasks before.
    await ask('DELETE FROM queues');
    engine = await boot({ MAX_CONCURRENT_TASKS: '2' });
    const flood = await submit('plain', { name: 'flood', gated: true }, { numTask: 60 });
    /** Lets one of them end, whose place the next one takes. */
    const turn = async () => {
      await full();
      const before = starts.length;
      gated.shift()?.();
      await eventually(() => expect(starts.length).toBeGreaterThan(before));
    };
    await eventually(() => expect(namesOf('test.plain').filter((name) => name === 'flood')).toHaveLength(2));
    for (let n = 0; n < 4; n++) await turn();
    const before = starts.length;
    const single = await submit('plain', { name: 'newcomer' }, {}, BOB);
    while (!hasStarted('newcomer')) await turn();
    const between = starts.findIndex(({ name }) => name === 'newcomer') - before;
    // Two slots, and as many messages waiting in Redis, twice as many after a moment of quick tasks.
    expect(between).toBeLessThanOrEqual(8);
    await engine.jobs.cancel('alice', flood, ALICE);
    await eventually(async () => expect((await engine.jobs.find('bob', single))?.status).toBe('completed'));
  });
});

describe('a full queue', () => {
  test('is noted once a second, however often it is looked at, and goes on when there is room', async () => {
    engine = await boot({ MAX_CONCURRENT_TASKS: '1' });
    const jobs = [await submit('plain', { name: 'long', ms: FOREVER })];
    await started('long');
    // The first of them are sent: the window may still be wide from before.
    jobs.push(...(await fill('behind')));
    const admission = engine.app.get(Admission);
    const [before, begun] = [await looked(), performance.now()];
    const notes = new Set<string | undefined>();
    for (let n = 0; n < 40; n++) {
      // Again, where Redis did not answer in time.
      expect((await eventually(() => admission.pass())).admitted).toBe(0);
      notes.add(await looked());
    }
    // Once a second, by whoever passes then: it is told how fast the queue goes.
    expect(notes.size).toBeLessThanOrEqual(2 + (performance.now() - begun) / 1000);
    await engine.jobs.cancel('alice', jobs[0]!, ALICE);
    for (const jobId of jobs.slice(1)) await engine.ended(jobId);
    expect(await looked()).not.toBe(before);
  });
});

describe('a limit', () => {
  test('of a type holds over all workers, and frees its places when tasks end, are canceled or handed back', async () => {
    engine = await boot({ MAX_CONCURRENT_TASKS: '6' });
    const other = await boot({ MAX_CONCURRENT_TASKS: '6' });
    const jobs = await Promise.all(
      [1, 2, 3].map((n) => submit('few', { name: `few ${n}`, ms: 30 }, { numTask: 4 })),
    );
    for (const job of jobs) expect((await engine.ended(job)).status).toBe('completed');

    const long = await submit('few', { name: 'long', ms: FOREVER }, { numTask: 2 });
    await eventually(() => expect(namesOf('test.few').filter((name) => name === 'long')).toHaveLength(2));
    expect(most.get('test.few')).toBe(2);
    const next = await submit('few', { name: 'next' });
    await explained(next, { reasons: [{ code: 'concurrency' }, { code: 'turn' }], estimatedStart: null });
    await engine.jobs.cancel('alice', long, ALICE);
    expect((await engine.ended(next)).status).toBe('completed');

    const stopped = await submit('few', { name: 'stopped', ms: FOREVER }, { numTask: 2, attempts: 2 });
    await eventually(() => expect(namesOf('test.few').filter((name) => name === 'stopped')).toHaveLength(2));
    await other.stop();
    await engine.jobs.cancel('alice', stopped, ALICE);
    expect((await engine.ended(await submit('few', { name: 'after' }))).status).toBe('completed');
  });

  test('of an owner holds for it alone', async () => {
    most.clear();
    engine = await boot({ MAX_CONCURRENT_TASKS: '6', MAX_ACTIVE_PER_OWNER: '2' });
    const many = await submit('plain', { name: 'many', gated: true }, { numTask: 8 });
    await eventually(() => expect(gated).toHaveLength(2));
    const single = await submit('plain', { name: 'of bob' }, {}, BOB);
    await eventually(async () => expect((await engine.jobs.find('bob', single))?.status).toBe('completed'));
    expect((await engine.jobs.find('alice', many))?.status).toBe('active');
    expect(gated).toHaveLength(2);
    await eventually(async () => {
      gated.shift()?.();
      expect((await engine.jobs.find('alice', many))?.status).toBe('completed');
    });
    expect(most.get('test.plain')).toBeLessThanOrEqual(3);
  });

  test('of a rate lets no more begin within any stretch of its length', async () => {
    engine = await boot({ MAX_CONCURRENT_TASKS: '8' });
    const since = performance.now();
    const job = await submit('rated', { name: 'rated' }, { numTask: 8 });
    await eventually(async () => {
      const { reasons } = (await engine.app.get(Explainer).explain('alice', job))!;
      expect(reasons[0]).toMatchObject({ code: 'rate-limit', until: expect.any(Date) });
    });
    await engine.ended(job);
    const times = starts.filter(({ type }) => type === 'test.rated').map(({ at }) => at);
    expect(times).toHaveLength(8);
    // From the submit on, for messages may take any time: of the first three nobody knows when they were let go.
    for (const [nth, at] of times.entries())
      expect(at - since).toBeGreaterThanOrEqual(Math.floor(nth / 3) * 1000);
  });

  test('of one job at a time lets the others wait in their order (feature 28)', async () => {
    engine = await boot({ MAX_CONCURRENT_TASKS: '4' });
    const first = await submit('in-turn', { name: 'first', gated: true }, { numTask: 3 });
    await eventually(() => expect(gated).toHaveLength(3));
    const others = await Promise.all(
      Array.from({ length: 5 }, (_, n) => submit('in-turn', { name: `other ${n}`, ms: 10 }, { numTask: 2 })),
    );
    const exclusive = { code: 'exclusive', message: expect.stringContaining(first) };
    await explained(others[0]!, { reasons: { 0: exclusive } });
    // Slots are free, and passes that look at the others let none of them begin.
    for (let n = 0; n < 3; n++) await eventually(() => engine.app.get(Admission).pass());
    expect(await held()).toEqual(expect.arrayContaining(others));
    for (const end of gated.splice(0)) end();
    for (const job of others) await engine.ended(job);
    const order = starts.filter(({ type }) => type === 'test.in-turn').map(({ jobId }) => jobId);
    const turns = order.filter((jobId, n) => jobId !== order[n - 1]);
    expect(turns).toHaveLength(6);
    expect(order).toHaveLength(3 + 5 * 2);
  });
});

describe('a canceled job', () => {
  test.each(['in-turn', 'few'])(
    'of a limited type (%s) keeps its places until its handlers have stopped',
    async (type) => {
      most.clear();
      engine = await boot({ MAX_CONCURRENT_TASKS: '6' });
      const slow = await submit(type, { name: `slow ${type}`, ms: FOREVER, stopMs: 700 }, { numTask: 2 });
      await eventually(() =>
        expect(namesOf(`test.${type}`).filter((name) => name === `slow ${type}`)).toHaveLength(2),
      );
      const next = await submit(type, { name: `next ${type}` }, { numTask: 2 });
      await engine.jobs.cancel('alice', slow, ALICE);
      expect((await engine.ended(next)).status).toBe('completed');
      expect(most.get(`test.${type}`)).toBe(2);
    },
  );
});

describe('a pause', () => {
  test('of a type lets nothing of it begin, what was sent neither, and what runs go on', async () => {
    engine = await boot({ MAX_CONCURRENT_TASKS: '1' });
    const pauses = engine.app.get(Pauses);
    const runs = await submit('plain', { name: 'runs on', gated: true });
    await eventually(() => expect(gated).toHaveLength(1));
    const sent = await submit('plain', { name: 'was sent' });
    await eventually(async () => expect(await held()).not.toContain(sent));
    await pauses.pause({
      kind: 'type',
      name: 'test.plain',
      actor: 'key:test',
      reason: 'an incident',
      until: null,
    });
    const late = await submit('plain', { name: 'came late' });
    const disk = await submit('disk', { name: 'of another type' });
    gated.shift()?.();
    expect((await engine.ended(runs)).status).toBe('completed');
    expect((await engine.ended(disk)).status).toBe('completed');
    for (const job of [sent, late]) {
      expect((await engine.jobs.find('alice', job))?.status).toBe('queued');
      const paused = { code: 'paused-type', message: expect.stringContaining('an incident') };
      await explained(job, { reasons: { 0: paused }, estimatedStart: null });
    }
    expect(await pauses.list()).toMatchObject([{ kind: 'type', name: 'test.plain', actor: 'key:test' }]);
    expect(await pauses.resume('type', 'test.plain', ALICE)).toBe(true);
    for (const job of [sent, late]) expect((await engine.ended(job)).status).toBe('completed');
    expect(await pauses.resume('type', 'test.plain', ALICE)).toBe(false);
  });

  test('of a tag ends by itself when its time has come, and outlives the process that began it', async () => {
    engine = await boot();
    const until = new Date(Date.now() + 3_600_000);
    await engine.app.get(Pauses).pause({ kind: 'tag', name: 'disk', actor: 'key:test', reason: null, until });
    await engine.stop();
    engine = await boot();
    const job = await submit('disk', { name: 'waits' });
    const message = 'The tag "disk" is paused until it is resumed.';
    await explained(job, { reasons: { 0: { code: 'paused-tag', message, until } } });
    const end = await ask(
      `UPDATE pauses SET until = date_trunc('second', clock_timestamp()) + interval '2 s' RETURNING until::text AS it`,
    );
    const ended = await engine.ended(job);
    expect(ended.startedAt!.getTime()).toBeGreaterThanOrEqual(new Date(end!).getTime());
  });
});
