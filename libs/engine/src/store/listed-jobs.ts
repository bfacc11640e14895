import { isFinalJobStatus, JOB_STATUSES, type JobStatus } from '@app/core';
import { Prisma } from '@app/platform/prisma/database.js';

/** Where a page of jobs goes on: after the job of this time and id. */
export interface JobCursor {
  createdAt: Date;
  jobId: string;
}

/** Which jobs are listed: those that have one value of each list that is given. */
export interface JobFilter {
  statuses?: JobStatus[];
  types?: string[];
  tags?: string[];
  /** Accepted at this time or later. */
  from?: Date;
  /** Accepted before this time. */
  to?: Date;
  /** By key; only searchable ones are found. */
  labels?: Record<string, string[]>;
}

/** Ordered scans in one statement. Beyond that a list is looked at row by row. */
const MOST_BRANCHES = 60;

const OPEN_STATUSES = JOB_STATUSES.filter((status) => !isFinalJobStatus(status));

const IN_UTC = Prisma.sql`AT TIME ZONE 'UTC'`;
/** The time as the index of all jobs has it, which no other list may be read from. */
const ALL_TIMES = Prisma.sql`(j.created_at ${IN_UTC})`;

/**
 * Whether a list is read in its order from one index, so that a page costs what it has. With another filter all that the
 * first lets through may be looked at for a single page, and so may the open jobs for some of their states.
 */
export function isBounded({ statuses = [], types, tags, labels = {} }: JobFilter): boolean {
  const open = new Set(statuses.filter((status) => !isFinalJobStatus(status)));
  const someOpen = open.size > 0 && open.size < OPEN_STATUSES.length;
  const filters = [statuses.length > 0, types !== undefined, tags !== undefined].filter(Boolean).length;
  return filters + Object.keys(labels).length <= 1 && !someOpen;
}

/** The ids of an owner's jobs, newest first. */
export function listedJobs(
  ownerId: string,
  limit: number,
  filter: JobFilter,
  after: JobCursor | undefined,
): Prisma.Sql {
  return Prisma.sql`SELECT p.id FROM (${pageOf(Prisma.sql`${ownerId}`, limit, filter, after)}) p`;
}

/**
 * The ids of all owners' jobs, newest first, for administrators. Those of a state, type, tag or label are read owner by owner,
 * for that is how they are indexed: a page takes longer with each owner, but not with each job.
 */
export function listedJobsOfAll(limit: number, filter: JobFilter, after: JobCursor | undefined): Prisma.Sql {
  const { statuses, types, tags, labels } = filter;
  if (!statuses && !types && !tags && !labels) {
    const at = ALL_TIMES;
    // Whose tasks are being deleted has no owner any more.
    const limits = all([
      Prisma.sql`j.owner_id <> ''`,
      ...limitsOf(at, Prisma.sql`j.id`, filter, after, IN_UTC),
    ]);
    return Prisma.sql`SELECT j.id FROM jobs j WHERE true ${limits} ORDER BY ${at} DESC, j.id DESC LIMIT ${limit}`;
  }
  return Prisma.sql`
    WITH RECURSIVE o AS (
      (SELECT owner_id FROM jobs WHERE owner_id > '' ORDER BY owner_id LIMIT 1)
      UNION ALL
      SELECT (SELECT j.owner_id FROM jobs j WHERE j.owner_id > o.owner_id ORDER BY j.owner_id LIMIT 1)
      FROM o WHERE o.owner_id IS NOT NULL
    )
    SELECT p.id FROM o CROSS JOIN LATERAL (${pageOf(Prisma.sql`o.owner_id`, limit, filter, after)}) p
    WHERE o.owner_id IS NOT NULL ORDER BY p.at DESC, p.id DESC LIMIT ${limit}`;
}

/**
 * The times and ids of an owner's jobs, newest first. Each combination of values is a scan of its own that one index gives in
 * order; what they find is merged. With one filter it stops after `limit` rows at any depth. With several it goes on
 * until `limit` of what the index gives fit the others too, which may be never (see {@link isBounded}).
 */
function pageOf(
  owner: Prisma.Sql,
  limit: number,
  filter: JobFilter,
  after: JobCursor | undefined,
): Prisma.Sql {
  const [driving, ...others] = Object.entries(filter.labels ?? {});
  const { branches, rest } = combine([
    driving?.[1].map((value) => Prisma.sql`l.value = ${value}`) ?? [],
    statusScans(filter.statuses ?? []),
    (filter.types ?? []).map((type) => Prisma.sql`j.type = ${type}`),
    (filter.tags ?? []).map((tag) => Prisma.sql`j.queue = ${tag} AND j.queue <> 'default'`),
  ]);
  // Labels are listed from a table of their own, which has the time and id of the job.
  const at = driving ? Prisma.sql`l.created_at` : Prisma.sql`j.created_at`;
  const id = driving ? Prisma.sql`l.job_id` : Prisma.sql`j.id`;
  const source = driving
    ? Prisma.sql`job_labels l JOIN jobs j ON j.id = l.job_id AND j.owner_id = ${owner}
        WHERE l.owner_id = ${owner} AND l.key = ${driving[0]}`
    : Prisma.sql`jobs j WHERE j.owner_id = ${owner}`;
  const limits = [
    ...rest,
    ...limitsOf(at, id, filter, after),
    ...others.map(
      ([key, values]) => Prisma.sql`EXISTS (
        SELECT FROM job_labels o WHERE o.job_id = ${id} AND o.key = ${key} AND o.value = ANY(${values}::text[]))`,
    ),
  ];
  const scans = branches.map(
    (
      conditions,
    ) => Prisma.sql`(SELECT ${at} AS at, ${id} AS id FROM ${source} ${all([...conditions, ...limits])}
      ORDER BY ${at} DESC, ${id} DESC LIMIT ${limit})`,
  );
  return Prisma.sql`SELECT m.at, m.id FROM (${Prisma.join(scans, ' UNION ALL ')}) m ORDER BY m.at DESC, m.id DESC LIMIT ${limit}`;
}

/**
 * The time, and where the page begins.
 * @param as what is done to each instant so that it compares with `at`
 */
function limitsOf(
  at: Prisma.Sql,
  id: Prisma.Sql,
  { from, to }: JobFilter,
  after: JobCursor | undefined,
  as = Prisma.empty,
): Prisma.Sql[] {
  const instant = (date: Date) => Prisma.sql`(${date}::timestamptz ${as})`;
  return [
    ...(from ? [Prisma.sql`${at} >= ${instant(from)}`] : []),
    ...(to ? [Prisma.sql`${at} < ${instant(to)}`] : []),
    ...(after ? [Prisma.sql`(${at}, ${id}) < (${instant(after.createdAt)}, ${after.jobId}::uuid)`] : []),
  ];
}

/** Final states by the outcome, which is written once; the open ones together, for no index has a state that changes. */
function statusScans(statuses: JobStatus[]): Prisma.Sql[] {
  const open = statuses.filter((status) => !isFinalJobStatus(status));
  return [
    ...statuses.filter(isFinalJobStatus).map((status) => Prisma.sql`j.outcome = ${status}`),
    ...(open.length === 0 ? [] : [Prisma.sql`j.finished_at IS NULL AND j.status = ANY(${open}::text[])`]),
  ];
}

/** Every combination of one condition of each list; lists that would make too many are conditions of all. */
function combine(lists: Prisma.Sql[][]): { branches: Prisma.Sql[][]; rest: Prisma.Sql[] } {
  let branches: Prisma.Sql[][] = [[]];
  const rest: Prisma.Sql[] = [];
  for (const list of lists.filter((conditions) => conditions.length > 0)) {
    if (branches.length * list.length > MOST_BRANCHES) rest.push(Prisma.sql`(${Prisma.join(list, ' OR ')})`);
    else branches = branches.flatMap((branch) => list.map((condition) => [...branch, condition]));
  }
  return { branches, rest };
}

function all(conditions: Prisma.Sql[]): Prisma.Sql {
  return conditions.length === 0 ? Prisma.empty : Prisma.sql`AND ${Prisma.join(conditions, ' AND ')}`;
}
