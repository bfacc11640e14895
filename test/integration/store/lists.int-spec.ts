import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type PrismaClient, Prisma } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import {
  type JobCursor,
  type JobFilter,
  listedJobs,
  listedJobsOfAll,
} from '@app/engine/store/listed-jobs.js';
import { type LedgerEvent, readLedger } from '@app/engine/store/read-ledger.js';
import { deleteOldJobs } from '@app/engine/store/retention.js';
import { LIFE, newJob, openStore, OWNER, running, type Store } from './store-fixture.js';

let store: Store;
let one: PrismaClient;

/** Jobs of `many`, a second apart: mostly completed `common` ones. Every 1000th failed, is `rare`, tagged or labelled. */
const MANY = 40_000;

beforeAll(async () => {
  store = await openStore(1);
  [one] = store.clients as [PrismaClient];
  await one.$executeRaw`
    INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, outcome, failure_policy, max_attempts, resumable,
      finalize, payload, progress, created_at, finished_at)
    SELECT gen_random_uuid(), CASE WHEN n % 10 = 9 THEN 'other' ELSE 'many' END, 'key:test',
      CASE WHEN n % 1000 = 2 THEN 'rare' ELSE 'common' END, CASE WHEN n % 1000 = 3 THEN 'disk' ELSE 'default' END,
      s.status, CASE WHEN s.status <> 'queued' THEN s.status END, 'fail-fast', 3, false, false, '{}',
      CASE WHEN s.status = 'completed' THEN 100 ELSE 0 END, timestamptz '2026-01-01' + n * interval '1 second',
      CASE WHEN s.status <> 'queued' THEN now() END
    FROM generate_series(1, ${MANY}::int) n,
      LATERAL (SELECT CASE WHEN n % 1000 = 1 THEN 'failed' WHEN n % 1000 = 4 THEN 'queued' ELSE 'completed' END AS status) s`;
  await one.$executeRaw`
    INSERT INTO job_labels (owner_id, key, value, created_at, job_id)
    SELECT owner_id, 'project', 'p' || (extract(epoch FROM created_at)::bigint % 500), created_at, id FROM jobs`;
  await one.$executeRaw`ANALYZE jobs, job_labels`;
});
afterAll(() => store.close());

const ids = async (filter: JobFilter, limit = 50, after?: JobCursor, owner = 'many') =>
  (await one.$queryRaw<{ id: string }[]>(listedJobs(owner, limit, filter, after))).map(({ id }) => id);

/** What the planner does with a list: the indexes that it reads, and whether it reads a table from end to end. */
async function planOf(
  filter: JobFilter,
  after?: JobCursor,
  listed = listedJobs('many', 50, filter, after),
): Promise<string> {
  const rows = await one.$queryRaw<{ 'QUERY PLAN': string }[]>(
    Prisma.sql`EXPLAIN (ANALYZE, TIMING OFF) SELECT j.* FROM jobs j
      WHERE j.id = ANY(ARRAY(${listed})) ORDER BY j.created_at DESC, j.id DESC LIMIT 50`,
  );
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

const found = (labels: Record<string, string[]>) => ids({ labels }, 50, undefined, OWNER);

const deep: JobCursor = {
  createdAt: new Date('2026-01-01T02:00:00Z'),
  jobId: 'ffffffff-ffff-4fff-bfff-ffffffffffff',
};

describe('a list of jobs (feature 3)', () => {
  test.each<[string, JobFilter, string]>([
    ['everything', {}, 'jobs_by_owner'],
    ['a final state', { statuses: ['failed'] }, 'jobs_by_outcome'],
    ['final states', { statuses: ['failed', 'canceled'] }, 'jobs_by_outcome'],
    ['open states', { statuses: ['queued', 'active'] }, 'jobs_open_by_owner'],
    ['a type', { types: ['rare'] }, 'jobs_by_type'],
    ['types', { types: ['rare', 'none'] }, 'jobs_by_type'],
    ['a tag', { tags: ['disk'] }, 'jobs_by_tag'],
    [
      'a time',
      { from: new Date('2026-01-01T01:00:00Z'), to: new Date('2026-01-01T02:00:00Z') },
      'jobs_by_owner',
    ],
    ['a label', { labels: { project: ['p7'] } }, 'job_labels_list'],
    ['labels', { labels: { project: ['p7', 'p8'] }, types: ['common'] }, 'job_labels_list'],
  ])('of %s is read from its index, at any depth', async (_what, filter, index) => {
    for (const after of [undefined, deep]) {
      const plan = await planOf(filter, after);
      expect(plan).toContain(index);
      expect(plan).not.toMatch(/Seq Scan/);
      // Nothing was read to be thrown away but what another condition of the same list refused.
      for (const [, removed] of plan.matchAll(/Rows Removed by Filter: (\d+)/g)) {
        expect(Number(removed)).toBeLessThan(200);
      }
    }
  });

  test('is what a plain filter and sort of all rows give, page by page', async () => {
    const filter: JobFilter = {
      statuses: ['failed', 'queued', 'completed'],
      types: ['rare', 'common'],
      from: new Date('2026-01-01T00:10:00Z'),
      to: new Date('2026-01-01T00:20:00Z'),
    };
    const expected = await one.$queryRaw<{ id: string; at: Date }[]>`
      SELECT id, created_at AS at FROM jobs WHERE owner_id = 'many' AND created_at >= ${filter.from!} AND created_at < ${filter.to!}
      ORDER BY created_at DESC, id DESC`;
    expect(expected).toHaveLength(540);
    const seen: string[] = [];
    for (let after: JobCursor | undefined; ;) {
      const page = await ids(filter, 100, after);
      seen.push(...page);
      if (page.length < 100) break;
      const last = expected.find(({ id }) => id === page.at(-1));
      after = { createdAt: last!.at, jobId: last!.id };
    }
    expect(seen).toEqual(expected.map(({ id }) => id));
  });

  test('of more combinations than are scanned one by one is the same', async () => {
    const types = Array.from({ length: 20 }, (_, at) => (at === 0 ? 'rare' : `type.${at}`));
    const filter: JobFilter = {
      types,
      statuses: ['completed', 'failed', 'canceled', 'queued'],
      tags: ['default'],
    };
    expect(await ids(filter)).toEqual([]);
    const { tags: _tags, ...untagged } = filter;
    expect((await ids(untagged, 100)).length).toBe(40);
  });

  test.each<[string, JobFilter, string]>([
    ['everything', {}, 'jobs_by_time'],
    ['a time', { to: new Date('2026-01-01T02:00:00Z') }, 'jobs_by_time'],
    ['a final state', { statuses: ['failed'] }, 'jobs_by_outcome'],
    ['a type', { types: ['rare'] }, 'jobs_by_type'],
    ['a label', { labels: { project: ['p7'] } }, 'job_labels_list'],
  ])(
    'of all owners, of %s, is read from an index, and is what a plain filter gives',
    async (_w, filter, index) => {
      const all: string[] = [];
      const cursors: JobCursor[] = [];
      for (let after: JobCursor | undefined; ; after = cursors.at(-1)) {
        const plan = await planOf(filter, after, listedJobsOfAll(50, filter, after));
        expect(plan).toContain(index);
        expect(plan).not.toMatch(/Seq Scan/);
        const page = await one.$queryRaw<{ id: string }[]>(listedJobsOfAll(50, filter, after));
        all.push(...page.map(({ id }) => id));
        if (page.length < 50 || all.length >= 200) break;
        const { createdAt } = await one.job.findUniqueOrThrow({ where: { id: page.at(-1)!.id } });
        cursors.push({ createdAt, jobId: page.at(-1)!.id });
      }
      const { to, statuses, types, labels } = filter;
      const project = labels?.['project']?.[0];
      const labelled =
        project === undefined ? undefined : await one.jobLabel.findMany({ where: { value: project } });
      const expected = await one.job.findMany({
        where: {
          ...(to && { createdAt: { lt: to } }),
          ...(statuses && { outcome: { in: statuses } }),
          ...(types && { type: { in: types } }),
          ...(labelled && { id: { in: labelled.map(({ jobId }) => jobId) } }),
        },
        orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
        take: all.length,
        select: { id: true },
      });
      expect(all.length).toBeGreaterThan(30);
      expect(all).toEqual(expected.map(({ id }) => id));
    },
  );

  test('knows only the labels that the type declares searchable, and all of them have to fit', async () => {
    const labels = { project: 'a', stage: 'b', note: 'c' };
    const [job, other] = [
      newJob({ labels, searchable: ['project', 'stage', 'constructor'] }),
      newJob({ labels: { project: 'a' }, searchable: ['project', 'stage'] }),
    ];
    await acceptJobs(one, [job, other, newJob()], LIFE);
    expect(new Set(await found({ project: ['a'] }))).toEqual(new Set([job.jobId, other.jobId]));
    expect(await found({ project: ['a', 'z'], stage: ['b'] })).toEqual([job.jobId]);
    expect(await found({ note: ['c'] })).toEqual([]);
    expect(await one.jobLabel.count({ where: { jobId: job.jobId } })).toBe(2);
    await cancelJob(one, OWNER, job.jobId, { actor: 'key:test' });
    await one.$executeRaw`UPDATE jobs SET finished_at = now() - interval '1 day' WHERE id = ${job.jobId}::uuid`;
    await deleteOldJobs(one, 3_600_000, 1);
    expect(await one.jobLabel.count({ where: { jobId: job.jobId } })).toBe(0);
  });
});

describe('a ledger (feature 15)', () => {
  test('tells each transition of job and tasks once, in order, whatever the pages', async () => {
    const { jobId } = await running(one, { tasks: 3 });
    await cancelJob(one, OWNER, jobId, { actor: 'key:test', reason: 'enough' });
    const whole = (await readLedger(one, OWNER, jobId, 100)) ?? [];
    expect(whole.map(({ id, kind }) => `${id} ${kind}`)).toEqual(
      expect.arrayContaining(['1.0 job.queued', '2.3 job.active', '3.0 job.canceled']),
    );
    expect(whole.filter(({ kind }) => kind === 'task.active')).toHaveLength(3);
    expect(whole.filter(({ kind }) => kind === 'task.canceled')).toHaveLength(3);
    expect(new Set(whole.map(({ id }) => id)).size).toBe(whole.length);
    for (const limit of [1, 2, 3]) {
      const paged: LedgerEvent[] = [];
      for (;;) {
        const page = (await readLedger(one, OWNER, jobId, limit, paged.at(-1)?.cursor)) ?? [];
        paged.push(...page);
        if (page.length < limit) break;
      }
      expect(paged).toEqual(whole);
    }
    expect(await readLedger(one, 'bob', jobId, 100)).toBeUndefined();
  });
});
