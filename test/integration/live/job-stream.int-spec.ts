import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { ToldEvent } from '@app/engine/live/live-feed.js';
import { LiveUpdates } from '@app/engine/live/live-updates.js';
import type { TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { OWNER } from '../store/store-fixture.js';
import { type LiveWorld, openLive } from './live-fixture.js';

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
  const other = await live.connect();
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
