import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { deleteOldJobs } from '@app/engine/store/retention.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { brokenRules } from './invariants.js';
import {
  blocked,
  claimAll,
  ending,
  finish,
  holding,
  jobRow,
  LIFE,
  newJob,
  openStore,
  OWNER,
  type Store,
} from './store-fixture.js';

let store: Store;
let one: PrismaClient;
let other: PrismaClient;

beforeAll(async () => {
  store = await openStore(3);
  [one, other] = store.clients as [PrismaClient, PrismaClient];
});
afterAll(async () => {
  expect(await brokenRules(one)).toEqual([]);
  await store.close();
});

const BY = { actor: 'key:test' };
let count = 0;
const nextKey = () => ({ scope: `owner ${OWNER}`, key: `key ${++count}` });
const accept = async (job: NewJob, client = one) => (await acceptJobs(client, [job], LIFE))[0];
const retry = (jobId: string, client = one) => retryJob(client, OWNER, jobId, BY);
const rowsOf = (jobId: string) =>
  one.$queryRaw<{ n: number }[]>`
    SELECT ((SELECT count(*) FROM jobs WHERE id = ${jobId}::uuid) + (SELECT count(*) FROM tasks WHERE job_id = ${jobId}::uuid)
      + (SELECT count(*) FROM dispatch WHERE job_id = ${jobId}::uuid)
      + (SELECT count(*) FROM idempotency_keys WHERE job_id = ${jobId}::uuid))::int AS n`.then(
    ([row]) => row?.n,
  );

describe('a dedupe key', () => {
  test('refuses a second job while the first is open, and writes nothing of it', async () => {
    const dedupe = [nextKey()];
    const [first, second] = [
      newJob({ dedupe }),
      newJob({ dedupe, idempotency: { key: 'a', bodyHash: 'a' } }),
    ];
    expect(await accept(first)).toMatchObject({ kind: 'accepted' });
    expect(await accept(second)).toEqual({ kind: 'duplicate', jobId: first.jobId });
    expect(await rowsOf(second.jobId)).toBe(0);
    // Its Idempotency-Key is as free as before.
    await cancelJob(one, OWNER, first.jobId, BY);
    expect(await accept(second)).toMatchObject({ kind: 'accepted', jobId: second.jobId });
  });

  test('is free as soon as its job has completed, failed or was canceled', async () => {
    const dedupe = [nextKey()];
    const [completed, failed, canceled, last] = [1, 2, 3, 4].map(() => newJob({ dedupe })) as NewJob[];
    for (const [job, status] of [
      [completed!, 'completed'],
      [failed!, 'failed'],
    ] as const) {
      expect(await accept(job)).toMatchObject({ kind: 'accepted' });
      const [task] = await claimAll(one, [job.units[0]!.taskId]);
      await finish(one, ending(task!, status));
    }
    expect(await accept(canceled!)).toMatchObject({ kind: 'accepted' });
    await cancelJob(one, OWNER, canceled!.jobId, BY);
    expect(await accept(last!)).toMatchObject({ kind: 'accepted' });
  });

  test('gives a repeat under the same Idempotency-Key the first job, open or ended', async () => {
    const of = { dedupe: [nextKey()], idempotency: { key: 'again', bodyHash: 'same' } };
    const first = newJob(of);
    await accept(first);
    expect(await accept(newJob(of))).toMatchObject({ kind: 'replayed', jobId: first.jobId });
    await cancelJob(one, OWNER, first.jobId, BY);
    expect(await accept(newJob(of))).toMatchObject({ kind: 'replayed', jobId: first.jobId });
    // What the repeat took on its way is let go of at once.
    expect(await one.dedupeKey.count({ where: of.dedupe[0]! })).toBe(0);
    expect(await accept(newJob({ dedupe: of.dedupe }))).toMatchObject({ kind: 'accepted' });
  });

  test('goes to the first of several in one batch', async () => {
    const dedupe = [nextKey()];
    const jobs = [newJob({ dedupe }), newJob(), newJob({ dedupe })];
    expect(await acceptJobs(one, jobs, LIFE)).toMatchObject([
      { kind: 'accepted' },
      { kind: 'accepted' },
      { kind: 'duplicate', jobId: jobs[0]!.jobId },
    ]);
  });

  test('of two is got with the other or not at all', async () => {
    const [a, b] = [nextKey(), nextKey()];
    const holder = newJob({ dedupe: [b] });
    await accept(holder);
    expect(await accept(newJob({ dedupe: [a, b] }))).toEqual({ kind: 'duplicate', jobId: holder.jobId });
    expect(await accept(newJob({ dedupe: [a] }))).toMatchObject({ kind: 'accepted' });
  });

  test('goes to one of many that ask for it at once', async () => {
    const dedupe = [nextKey()];
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) => accept(newJob({ dedupe }), store.clients[at % 3])),
    );
    const [first] = answers.filter((answer) => answer?.kind === 'accepted');
    expect(answers.filter((answer) => answer?.kind === 'accepted')).toHaveLength(1);
    expect(answers.filter((answer) => answer?.kind === 'duplicate')).toEqual(
      Array.from({ length: 19 }, () => ({ kind: 'duplicate', jobId: (first as { jobId: string }).jobId })),
    );
  });

  test('is not taken from a job that is being accepted while another one waits for it', async () => {
    const dedupe = [nextKey()];
    const [ended, first, second] = [1, 2, 3].map(() => newJob({ dedupe })) as [NewJob, NewJob, NewJob];
    await accept(ended);
    await cancelJob(one, OWNER, ended.jobId, BY);
    const held = await holding(one, (sql) => acceptJobs(sql, [first], LIFE));
    const answer = accept(second, other);
    await blocked(one);
    await held.commit();
    expect(await answer).toEqual({ kind: 'duplicate', jobId: first.jobId });
  });

  test('is taken again by a retry, which is refused while another job has it', async () => {
    const dedupe = [nextKey()];
    const [first, second] = [newJob({ dedupe }), newJob({ dedupe })];
    await accept(first);
    await cancelJob(one, OWNER, first.jobId, BY);
    await accept(second);
    expect(await retry(first.jobId)).toEqual({ kind: 'duplicate', jobId: second.jobId });
    expect(await jobRow(one, first.jobId)).toMatchObject({ status: 'canceled', generation: 1 });
    await cancelJob(one, OWNER, second.jobId, BY);
    expect(await retry(first.jobId)).toMatchObject({ kind: 'retried' });
    expect(await accept(newJob({ dedupe }))).toEqual({ kind: 'duplicate', jobId: first.jobId });
  });

  test('is kept by a job that is opened again while another one waits for it', async () => {
    const dedupe = [nextKey()];
    const first = newJob({ dedupe });
    await accept(first);
    await cancelJob(one, OWNER, first.jobId, BY);
    const lock = await holding(
      one,
      (sql) => sql.$queryRaw`SELECT 1 FROM dedupe_keys WHERE job_id = ${first.jobId}::uuid FOR UPDATE`,
    );
    const retried = retry(first.jobId, other);
    await blocked(one);
    const late = accept(newJob({ dedupe }), store.clients[2]);
    await blocked(one, 2);
    await lock.commit();
    expect(await retried).toMatchObject({ kind: 'retried' });
    expect(await late).toEqual({ kind: 'duplicate', jobId: first.jobId });
  });

  test('is forgotten with its job', async () => {
    const dedupe = [nextKey()];
    const job = newJob({ dedupe });
    await accept(job);
    await cancelJob(one, OWNER, job.jobId, BY);
    await one.$executeRaw`UPDATE jobs SET finished_at = now() - interval '1 day' WHERE id = ${job.jobId}::uuid`;
    await deleteOldJobs(one, 60_000, 100);
    expect(await one.dedupeKey.count({ where: { jobId: job.jobId } })).toBe(0);
  });
});
