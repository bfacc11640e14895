import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { cursorHead, readCursor } from '@app/engine/live/live-cursor.js';
import { LiveFeed } from '@app/engine/live/live-feed.js';
import { LiveKey } from '@app/engine/live/live-key.js';
import { LivePoke } from '@app/engine/live/live-poke.js';
import { LONGEST_AWAY_MS } from '@app/engine/live/live-subscription.js';
import { LiveUpdates } from '@app/engine/live/live-updates.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { lookAtTransactions } from '@app/engine/store/read-feed.js';
import { seenBy } from '@app/engine/live/seen-transactions.js';
import { LOGGER, type Logger } from '@app/platform/observability/logger.js';
import { SettingsStore } from '@app/platform/prisma/settings-store.js';
import { Redis } from '@app/platform/redis/redis.js';
import { Database } from '@app/platform/prisma/database.js';
import type { TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { LIFE, newJob, OWNER } from '../store/store-fixture.js';
import { acceptLate, type LiveWorld, openLive } from './live-fixture.js';

let live: LiveWorld;
let engine: TestEngine;
let late: LiveWorld['late'];
let sql: LiveWorld['sql'];

beforeAll(async () => {
  live = await openLive();
  ({ engine, late, sql } = live);
}, 60_000);
beforeEach(() => live.hush());
afterAll(() => live?.close());

const accept = () => live.accept();
const listen: LiveWorld['listen'] = (after, attach) => live.listen(after, attach);

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

const listener = () => ({ ownerId: OWNER, deliver: () => {}, overflow: () => {} });

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
  await late.query('BEGIN');
  await late.query('LOCK TABLE settings IN ACCESS EXCLUSIVE MODE');
  const [one, two] = [listener(), listener()];
  const early = feed.attach(one);
  // The look has read, and waits for the key.
  await eventually(async () => {
    const waiting =
      await sql.$queryRaw`SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'settings'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    expect(waiting).toHaveLength(2);
  });
  await accept();
  const after = await lookAtTransactions(sql);
  const joined = feed.attach(two);
  await late.query('ROLLBACK');
  await early;
  expect(seenBy(await joined).below).toBeGreaterThanOrEqual(seenBy(after).below);
  feed.detach(one);
  feed.detach(two);
  await feed.onModuleDestroy();
});

test('who comes back is told no more at a time than there is room for', async () => {
  const whole = await listen();
  const first = await accept();
  await eventually(() => expect(whole.jobs).toEqual([first]));
  await Promise.all(Array.from({ length: 300 }, accept));
  const told: string[] = [];
  let makeRoom: (() => void) | undefined;
  const subscription = engine.app.get(LiveUpdates).subscribe(
    OWNER,
    { jobIds: [], types: [] },
    (messages) => {
      told.push(...messages.map(({ event }) => event));
      return new Promise((resolve) => (makeRoom = resolve));
    },
    () => {},
  );
  const opened = subscription.open(whole.idOf(first));
  for (const length of [200, 300]) {
    await eventually(() => expect(told.length).toBeGreaterThanOrEqual(length));
    expect(told).toHaveLength(length);
    makeRoom?.();
  }
  await opened;
  expect(told.at(-1)).toBe('subscribed');
  subscription.close();
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
