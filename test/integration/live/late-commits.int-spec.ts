import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { cursorHead, readCursor } from '@app/engine/live/live-cursor.js';
import { LiveFeed, type ToldEvent } from '@app/engine/live/live-feed.js';
import { LivePoke } from '@app/engine/live/live-poke.js';
import { LONGEST_AWAY_MS, type LiveMessage, LiveSubscription } from '@app/engine/live/live-subscription.js';
import { LiveUpdates } from '@app/engine/live/live-updates.js';
import { LiveKey } from '@app/engine/live/live-key.js';
import { seenBy, toSnapshot } from '@app/engine/live/seen-transactions.js';
import { deleteOldMarks, feedQuery, lookAtTransactions, readFeed } from '@app/engine/store/read-feed.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { Database, Prisma } from '@app/platform/prisma/database.js';
import { LOGGER, type Logger } from '@app/platform/observability/logger.js';
import { SettingsStore } from '@app/platform/prisma/settings-store.js';
import { Redis } from '@app/platform/redis/redis.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { LIFE, newJob, OWNER } from '../store/store-fixture.js';

let database: TestDatabase;
let engine: TestEngine;
let late: Client;
let sql: Database['main'];

beforeAll(async () => {
  database = await createTestDatabase();
  engine = await startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [],
    executes: false,
  });
  sql = engine.app.get(Database).main;
  late = new Client({ connectionString: database.url });
  await late.connect();
}, 60_000);
afterAll(async () => {
  await late?.end();
  await engine?.stop();
  await database?.drop();
});

/** Everything of the owner since a look, and the look at it. */
async function since(snapshot: string, most = 1000) {
  const { rows, snapshot: next } = await readFeed(sql, {
    owners: [OWNER],
    after: snapshot,
    marksAfter: snapshot,
    most,
  });
  return { jobs: rows?.map((row) => row.jobId), next };
}

async function accept(): Promise<string> {
  const job = newJob();
  await acceptJobs(sql, [job], LIFE);
  return job.jobId;
}

/** A job in a transaction that stays open. */
async function acceptLate(client: Client): Promise<string> {
  const { jobId } = newJob();
  await client.query('BEGIN');
  await client.query(
    `INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, failure_policy, max_attempts, resumable, finalize, payload)
     VALUES ($1, $2, 'x', 'test.type', 'default', 'queued', 'fail-fast', 1, false, false, 'null')`,
    [jobId, OWNER],
  );
  await client.query(
    `INSERT INTO job_events (job_id, generation, version, kind, actor) VALUES ($1, 1, 1, 'job.queued', 'x')`,
    [jobId],
  );
  return jobId;
}

test('a transaction that commits late is told late, once, and holds up nobody meanwhile', async () => {
  const before = await lookAtTransactions(sql);
  const slow = await acceptLate(late);
  const quick = await accept();
  const first = await since(before);
  // Its number is smaller than the one that was told.
  expect(first.jobs).toEqual([quick]);
  const second = await since(first.next);
  expect(second.jobs).toEqual([]);
  await late.query('COMMIT');
  const third = await since(second.next);
  expect(third.jobs).toEqual([slow]);
  expect((await since(third.next)).jobs).toEqual([]);
  expect((await since(before)).jobs?.toSorted()).toEqual([slow, quick].toSorted());
});

test('what was rolled back is never told', async () => {
  const before = await lookAtTransactions(sql);
  await acceptLate(late);
  const first = await since(before);
  await late.query('ROLLBACK');
  expect([first.jobs, (await since(first.next)).jobs]).toEqual([[], []]);
});

test('a look can be repeated at any time, by anybody, with the same rows', async () => {
  const before = await lookAtTransactions(sql);
  const slow = await acceptLate(late);
  const ids = [await accept(), await accept()];
  const { next } = await since(before);
  await late.query('COMMIT');
  await accept();
  const again = await readFeed(sql, { owners: [OWNER], after: before, upTo: next, most: 1000 });
  expect(again.rows?.map((row) => row.jobId)).toEqual(ids);
  expect(ids).not.toContain(slow);
});

test('a transaction that stays open for long makes no look read what was told', async () => {
  await acceptLate(late);
  const before = await lookAtTransactions(sql);
  await Promise.all(Array.from({ length: 300 }, accept));
  const { next } = await since(before);
  await sql.$executeRaw`ANALYZE job_events`;
  const asked = { owners: [OWNER], after: next, most: 1000 };
  const rows = await sql.$queryRaw<{ 'QUERY PLAN': string }[]>(
    Prisma.sql`EXPLAIN (ANALYZE, COSTS off, TIMING off) ${feedQuery(asked)}`,
  );
  await late.query('ROLLBACK');
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).not.toMatch(/Seq Scan on job_events/);
  expect(plan).toMatch(/on job_events/);
  for (const [, read] of plan.matchAll(/on job_events.*rows=(\d+(?:\.\d+)?) loops/g))
    expect(Number(read)).toBeLessThan(5);
});

test('rows of a database that was copied from another are in no feed', async () => {
  const before = await lookAtTransactions(sql);
  const jobId = await accept();
  // As they are after pg_restore: transactions that this database has not got to.
  await sql.$executeRaw`UPDATE job_events SET xid = (xid::text::bigint + 1000000)::text::xid8 WHERE job_id = ${jobId}::uuid`;
  const first = await since(before);
  expect([first.jobs, (await since(first.next)).jobs]).toEqual([[], []]);
});

test('marks of progress are forgotten when nobody can come back for them, the oldest first', async () => {
  const jobId = await accept();
  await sql.$executeRaw`
    INSERT INTO progress_marks (job_id, generation, at)
    SELECT ${jobId}::uuid, nth, now() - make_interval(mins => 20 - nth) FROM generate_series(1, 10) nth`;
  expect(await deleteOldMarks(sql, 14.5 * 60_000, 3)).toBe(3);
  expect(await deleteOldMarks(sql, 14.5 * 60_000, 1000)).toBe(2);
  const left = await sql.$queryRaw<
    { generation: number }[]
  >`SELECT generation FROM progress_marks ORDER BY seq`;
  expect(left.map(({ generation }) => generation)).toEqual([6, 7, 8, 9, 10]);
});

/** Somebody who listens, and what they were told. */
class Listener {
  readonly told: LiveMessage[] = [];
  readonly failures: Error[] = [];
  readonly subscription: LiveSubscription;

  /** @param attach what happens when it joins the feed */
  constructor(attach: LiveFeed['attach'] = (listener) => engine.app.get(LiveFeed).attach(listener)) {
    const real = engine.app.get(LiveFeed);
    const feed = new Proxy(real, {
      get: (_, name) => {
        if (name === 'attach') return attach;
        const value: unknown = Reflect.get(real, name, real);
        return typeof value === 'function' ? value.bind(real) : value;
      },
    });
    const sources = { sql, feed, key: engine.app.get(LiveKey) };
    this.subscription = new LiveSubscription(
      OWNER,
      { jobIds: [], types: [] },
      sources,
      async (told) => void this.told.push(...told),
      (error) => this.failures.push(error),
    );
  }

  async open(after?: string): Promise<this> {
    await this.subscription.open(after);
    return this;
  }

  get jobs(): string[] {
    return this.told.flatMap((message) => (message.event === 'job-update' ? [message.data.jobId] : []));
  }

  idOf(jobId: string): string {
    return this.events.find((event) => event.jobId === jobId)?.id ?? '';
  }

  get events(): ToldEvent[] {
    return this.told.filter((message): message is ToldEvent => 'place' in message);
  }

  close(): void {
    this.subscription.close();
  }
}

let listeners: Listener[] = [];
beforeEach(() => {
  listeners.forEach((listener) => listener.close());
  listeners = [];
});
async function listen(after?: string, attach?: LiveFeed['attach']): Promise<Listener> {
  const listener = new Listener(attach);
  listeners.push(listener);
  return listener.open(after);
}

test('who comes back behind any event hears what is left of its look, what came late, and what came since', async () => {
  const whole = await listen();
  const slow = await acceptLate(late);
  const jobs = Array.from({ length: 5 }, () => newJob());
  await acceptJobs(sql, jobs, LIFE);
  await eventually(() => expect(whole.jobs).toHaveLength(5));
  await late.query('COMMIT');
  await eventually(() => expect(whole.jobs).toHaveLength(6));
  const last = await accept();
  await eventually(() => expect(whole.jobs).toHaveLength(7));
  expect(whole.jobs.slice(5)).toEqual([slow, last]);
  for (let at = 0; at < 7; at++) {
    const rest = await listen(whole.idOf(whole.jobs[at]!));
    expect(rest.jobs).toEqual(whole.jobs.slice(at + 1));
  }
});

test('who was away too long, or missed too much, is told what there is and why', async () => {
  const whole = await listen();
  const jobId = await accept();
  await eventually(() => expect(whole.jobs).toEqual([jobId]));
  const key = await engine.app.get(LiveKey).get();
  const cursor = readCursor(key, 'feed', whole.idOf(jobId));
  expect(cursor).toBeDefined();
  const old = await listen(cursorHead(key, 'feed', cursor!, Date.now() - LONGEST_AWAY_MS - 1));
  expect(old.told[0]).toMatchObject({ event: 'snapshot', data: { reason: 'away-too-long' } });
  await sql.$executeRaw`
    INSERT INTO job_events (job_id, generation, version, kind, actor)
    SELECT ${jobId}::uuid, 1, 1 + nth, 'job.rescheduled', 'x' FROM generate_series(1, 10001) nth`;
  const flooded = await listen(whole.idOf(jobId));
  expect(flooded.told[0]).toMatchObject({ event: 'snapshot', data: { reason: 'too-much-happened' } });
  const changed = whole.idOf(jobId).replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'));
  const forged = await listen(changed);
  expect(forged.told[0]).toMatchObject({ event: 'snapshot', data: { reason: 'unknown-cursor' } });
});

test('a snapshot of Postgres is read and written as it is', async () => {
  await acceptLate(late);
  // Only what is older than something that has ended is named.
  await accept();
  const snapshot = await lookAtTransactions(sql);
  await late.query('ROLLBACK');
  expect(seenBy(snapshot).open.length).toBeGreaterThan(0);
  expect(toSnapshot(seenBy(snapshot))).toBe(snapshot);
});

test('what is committed while somebody catches up is told once, and not again to who comes back behind it', async () => {
  const whole = await listen();
  const first = await accept();
  await eventually(() => expect(whole.jobs).toEqual([first]));
  const back = await listen(whole.idOf(first), async (listener) => {
    const snapshot = await engine.app.get(LiveFeed).attach(listener);
    // The one that has begun first ends last, so that its number is the smaller one.
    await acceptLate(late);
    await accept();
    return snapshot;
  });
  await late.query('COMMIT');
  await eventually(() => expect(back.jobs).toHaveLength(2));
  for (const [at, jobId] of back.jobs.entries()) {
    const again = await listen(back.idOf(jobId));
    expect(again.jobs).toEqual(back.jobs.slice(at + 1));
  }
});

test('who joins while a look is on gets one that was begun later', async () => {
  const { app } = engine;
  const key = new LiveKey(app.get(SettingsStore));
  const feed = new LiveFeed(
    app.get(Database),
    app.get(Redis),
    new LivePoke(app.get(Redis)),
    key,
    app.get<Logger>(LOGGER),
  );
  const listener = () => ({ ownerId: OWNER, deliver: () => {}, overflow: () => {} });
  await late.query('BEGIN');
  await late.query('LOCK TABLE settings IN ACCESS EXCLUSIVE MODE');
  const [one, two] = [listener(), listener()];
  const early = feed.attach(one);
  // The look has read, and waits for the key.
  await eventually(async () => {
    const waiting =
      await sql.$queryRaw`SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'settings'::regclass`;
    expect(waiting).toHaveLength(2);
  });
  const told = await lookAtTransactions(sql);
  await accept();
  const after = await lookAtTransactions(sql);
  const joined = feed.attach(two);
  await late.query('ROLLBACK');
  expect(seenBy(await early).below).toBeLessThanOrEqual(seenBy(told).below);
  expect(seenBy(await joined).below).toBeGreaterThanOrEqual(seenBy(after).below);
  feed.detach(one);
  feed.detach(two);
  await feed.onModuleDestroy();
});

test('who cannot be told what there is hears that it has failed', async () => {
  const listener = await listen();
  await sql.$executeRaw`ALTER TABLE jobs RENAME TO jobs_away`;
  try {
    listener.subscription.overflow();
    await eventually(() => expect(listener.failures).toHaveLength(1));
  } finally {
    await sql.$executeRaw`ALTER TABLE jobs_away RENAME TO jobs`;
  }
});

test('a look that would go through too much of others reads nothing', async () => {
  const before = await lookAtTransactions(sql);
  await Promise.all(Array.from({ length: 5 }, accept));
  const asked = { owners: ['nobody'], after: before, most: 1000 };
  expect((await readFeed(sql, { ...asked, scan: 5 })).rows).toEqual([]);
  expect((await readFeed(sql, { ...asked, scan: 4 })).rows).toBeUndefined();
});

test('who subscribes again and again keeps no more of the jobs that it was told of', async () => {
  const listener = await listen();
  for (let times = 0; times < 5; times++) {
    await listener.subscription.change({ jobIds: [await accept()], types: [] });
    const { begun } = engine.app.get(LiveFeed).progress;
    // Whoever joins waits for a look.
    await listen();
    await eventually(() => expect(engine.app.get(LiveFeed).progress.told).toBeGreaterThan(begun));
  }
  const told = Reflect.get(listener.subscription, 'told') as Map<string, unknown>;
  expect(told.size).toBeLessThanOrEqual(1);
});

/** The stream of a job: what it tells, and how it ends. */
async function follow(jobId: string, after?: string) {
  const told: ToldEvent[] = [];
  const ends: (Error | undefined)[] = [];
  const stream = engine.app.get(LiveUpdates).follow(
    OWNER,
    jobId,
    async (events) => void told.push(...events),
    (failure) => ends.push(failure),
  );
  if (after !== undefined) await stream.goOn(after);
  await stream.open();
  return { stream, told, ends };
}

const versions = (told: ToldEvent[]) =>
  told.flatMap((one) => (one.event === 'job-update' ? [one.data.version] : []));

test('transactions whose rows stand among each other at the end of a page are told whole, from any place', async () => {
  const jobId = await accept();
  const insert = (from: number, to: number) =>
    `INSERT INTO job_events (job_id, generation, version, kind, actor)
     SELECT '${jobId}', 1, nth, 'job.rescheduled', 'x' FROM generate_series(${from}, ${to}) nth`;
  await sql.$executeRawUnsafe(insert(2, 497));
  const other = new Client({ connectionString: database.url });
  await other.connect();
  await Promise.all([late.query('BEGIN'), other.query('BEGIN')]);
  await late.query(insert(498, 498));
  await other.query(insert(499, 499));
  await late.query(insert(500, 500));
  await other.query(insert(501, 501));
  await Promise.all([late.query('COMMIT'), other.query('COMMIT')]);
  await other.end();
  const whole = await follow(jobId);
  const all = versions(whole.told);
  expect(all.slice(-4)).toEqual([498, 500, 499, 501]);
  expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 501 }, (_, at) => at + 1));
  for (const at of [0, 496, 497, 498, 499]) {
    const rest = await follow(jobId, whole.told[at]?.id);
    expect(versions(rest.told)).toEqual(all.slice(at + 1));
    rest.stream.close();
  }
  whole.stream.close();
});

test('the id of a stream of a job opens no feed, and that of the feed goes on in the stream', async () => {
  const whole = await listen();
  const jobId = await accept();
  const { stream, told } = await follow(jobId);
  stream.close();
  const feed = await listen(told[0]?.id);
  expect(feed.told[0]).toMatchObject({ event: 'snapshot', data: { reason: 'unknown-cursor' } });
  await eventually(() => expect(whole.jobs).toContain(jobId));
  const rest = await follow(jobId, whole.idOf(jobId));
  rest.stream.close();
  expect(rest.told).toEqual([]);
});

test('a stream of a job that cannot be told all ends, and repeats nothing', async () => {
  const { stream, told, ends } = await follow(await accept());
  const before = told.length;
  stream.overflow();
  expect(ends).toEqual([expect.any(Error)]);
  expect(told).toHaveLength(before);
});
