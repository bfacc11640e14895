import { isFinalJobStatus, type JobStatus } from '@app/core';
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

/**
 * The ids of an owner's jobs, newest first. Each combination of values is a scan of its own that one index gives in
 * order, so that it stops after `limit` rows at any depth; what they find is merged. An index cannot give the
 * order of two values at once.
 */
export function listedJobs(
  ownerId: string,
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
    ? Prisma.sql`job_labels l JOIN jobs j ON j.id = l.job_id AND j.owner_id = ${ownerId}
        WHERE l.owner_id = ${ownerId} AND l.key = ${driving[0]}`
    : Prisma.sql`jobs j WHERE j.owner_id = ${ownerId}`;
  const limits = [
    ...rest,
    ...(filter.from ? [Prisma.sql`${at} >= ${filter.from}::timestamptz`] : []),
    ...(filter.to ? [Prisma.sql`${at} < ${filter.to}::timestamptz`] : []),
    ...(after ? [Prisma.sql`(${at}, ${id}) < (${after.createdAt}::timestamptz, ${after.jobId}::uuid)`] : []),
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
  return Prisma.sql`SELECT m.id FROM (${Prisma.join(scans, ' UNION ALL ')}) m ORDER BY m.at DESC, m.id DESC LIMIT ${limit}`;
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
