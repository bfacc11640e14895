import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { seenBy, toSnapshot } from '@app/engine/live/seen-transactions.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { deleteOldMarks, feedQuery, lookAtTransactions, readFeed } from '@app/engine/store/read-feed.js';
import { Prisma } from '@app/platform/prisma/database.js';
import { LIFE, newJob, OWNER } from '../store/store-fixture.js';
import { acceptLate, type LiveWorld, openLive } from './live-fixture.js';

let live: LiveWorld;
let late: LiveWorld['late'];
let sql: LiveWorld['sql'];

beforeAll(async () => {
  live = await openLive();
  ({ late, sql } = live);
}, 60_000);
afterAll(() => live?.close());

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

test('a look that would go through too much of others reads nothing', async () => {
  const before = await lookAtTransactions(sql);
  await Promise.all(Array.from({ length: 5 }, accept));
  const asked = { owners: ['nobody'], after: before, most: 1000 };
  expect((await readFeed(sql, { ...asked, scan: 5 })).rows).toEqual([]);
  expect((await readFeed(sql, { ...asked, scan: 4 })).rows).toBeUndefined();
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
