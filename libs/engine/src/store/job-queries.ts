import { Injectable } from '@nestjs/common';
import type { CancelReceipt, Job, JobFailure, TaskSummary } from '@app/core';
import { Database, Prisma, type Sql } from '@app/platform/prisma/database.js';
import type { NewJob } from './accept-jobs.js';
import { DEFAULT_QUEUE } from './dispatch.js';
import { isBounded, type JobCursor, type JobFilter, listedJobs, listedJobsOfAll } from './listed-jobs.js';
import { withinTime } from './within-time.js';

type Reader = Pick<Sql, '$queryRaw'>;

interface JobRow extends Omit<Job, 'tasks' | 'cancelReceipt' | 'error'> {
  planning: boolean;
  total: number;
  completed: number;
  failed: number;
  canceled: number;
  error: JobFailure | null;
  requestedAt: Date | null;
  cancelActor: string | null;
  cancelReason: string | null;
}

/** Jobs of a list, newest first, as many as were asked for unless they are large; and whether there are more. */
export interface JobPage {
  jobs: Job[];
  more: boolean;
}

interface StopRow {
  jobId: string;
  taskId: string;
  worker: string | null;
  deliveredAt: Date | null;
  stoppedAt: Date | null;
  fencedAt: Date | null;
}

/** Bytes of what is told of the jobs of a page, after which it ends: one job may have some 256 KiB of payload. */
const MOST_BYTES = 2 * 1024 * 1024;

const COLUMNS = Prisma.sql`
  j.id::text AS "jobId", j.owner_id AS "ownerId", j.submitted_by AS "submittedBy", j.type, NULLIF(j.queue, ${DEFAULT_QUEUE}) AS tag, j.status, j.progress, j.detail, j.version, j.generation,
  j.failure_policy AS "failurePolicy", j.max_attempts AS attempts, j.priority, COALESCE(j.labels, '{}'::jsonb) AS labels, j.payload, j.result,
  CASE WHEN j.status = 'failed' THEN j.error END AS error, j.planning, j.tasks_total AS total,
  j.tasks_completed AS completed, j.tasks_failed AS failed, j.tasks_canceled AS canceled,
  j.run_at AS "runAt", j.expires_at AS "expiresAt", j.schedule_id::text AS "scheduleId", j.slot, j.created_at AS "createdAt", j.started_at AS "startedAt", j.finished_at AS "finishedAt",
  c.requested_at AS "requestedAt", c.actor AS "cancelActor", c.reason AS "cancelReason"`;
const SOURCE = Prisma.sql`FROM jobs j LEFT JOIN cancellations c ON c.job_id = j.id AND c.generation = j.generation`;
/** Of the parts of a job that may be large. */
const SIZE = Prisma.sql`(octet_length(j.payload::text) + COALESCE(octet_length(j.result::text), 0))`;

/** Reads jobs for their owners. Nothing but whose a job is can be asked without an owner. */
@Injectable()
export class JobQueries {
  constructor(private readonly database: Database) {}

  /** Whose a job is; undefined when there is none of that id, or retention is deleting it, which nobody owns any more. */
  async ownerOf(jobId: string): Promise<string | undefined> {
    const rows = await this.database.main.$queryRaw<{ ownerId: string }[]>`
      SELECT owner_id AS "ownerId" FROM jobs WHERE id = ${jobId}::uuid AND owner_id <> ''`;
    return rows[0]?.ownerId;
  }

  /**
   * One job, or undefined when the owner has none of that id.
   * @param sql where it is read, such as the transaction that has written it
   */
  async find(ownerId: string, jobId: string, sql: Reader = this.database.main): Promise<Job | undefined> {
    return (await this.select(Prisma.sql`j.owner_id = ${ownerId} AND j.id = ${jobId}::uuid`, 1, sql))[0];
  }

  /**
   * The owner's jobs that a filter lets through, newest first.
   * @throws {ListTooWideError}
   */
  page(ownerId: string, limit: number, filter: JobFilter = {}, after?: JobCursor): Promise<JobPage> {
    return this.pageOf(listedJobs(ownerId, limit + 1, filter, after), limit, filter);
  }

  /**
   * The jobs of all owners that a filter lets through, newest first, for administrators.
   * @throws {ListTooWideError}
   */
  pageOfAll(limit: number, filter: JobFilter = {}, after?: JobCursor): Promise<JobPage> {
    return this.pageOf(listedJobsOfAll(limit + 1, filter, after), limit, filter);
  }

  /** The tasks of a job after a position, or undefined when the owner has no such job. */
  async tasks(
    ownerId: string,
    jobId: string,
    limit: number,
    after: number,
  ): Promise<TaskSummary[] | undefined> {
    const [owned, tasks] = await Promise.all([
      this.database.main.$queryRaw<unknown[]>`
        SELECT 1 FROM jobs WHERE id = ${jobId}::uuid AND owner_id = ${ownerId}`,
      this.database.main.$queryRaw<TaskSummary[]>`
        SELECT t.id::text AS "taskId", i.position, i.key, t.status, t.progress, t.attempt, t.worker::text AS worker, o.result,
          CASE WHEN t.status <> 'completed' THEN o.error END AS error,
          t.started_at AS "startedAt", t.finished_at AS "finishedAt"
        FROM jobs j JOIN task_inputs i ON i.job_id = j.id JOIN tasks t ON t.id = i.task_id
          LEFT JOIN task_outputs o ON o.task_id = t.id
        WHERE j.id = ${jobId}::uuid AND j.owner_id = ${ownerId} AND i.position > ${Math.max(after, -1)}
          AND COALESCE(t.kind = 'task', false)
        ORDER BY i.position LIMIT ${limit}`,
    ]);
    return owned.length === 0 ? undefined : tasks;
  }

  /** @param ids of one job more than a page has, which tells whether there is a next one */
  private async pageOf(ids: Prisma.Sql, limit: number, filter: JobFilter): Promise<JobPage> {
    const read = async (sql: Reader) => {
      // As an array, so that the rows are looked up by it whatever the planner thinks of them. The order of the inner
      // select stays: the outer one only leaves out what would make the page too large.
      const found = await sql.$queryRaw<(JobRow & { fits: boolean; more: boolean })[]>`
        SELECT * FROM (
          SELECT ${COLUMNS}, COALESCE(sum(${SIZE}) OVER (newest ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < ${MOST_BYTES} AS fits,
            lead(true, 1, false) OVER newest AS more
          ${SOURCE} WHERE j.id = ANY(ARRAY(${ids}))
          WINDOW newest AS (ORDER BY j.created_at DESC, j.id DESC)
          ORDER BY j.created_at DESC, j.id DESC
        ) p WHERE fits`;
      const rows = found.slice(0, limit);
      return { jobs: await this.withReceipts(rows, sql), more: rows.at(-1)?.more ?? false };
    };
    return isBounded(filter) ? read(this.database.main) : withinTime(this.database.main, read);
  }

  private async select(where: Prisma.Sql, limit: number, sql: Reader = this.database.main): Promise<Job[]> {
    const rows = await sql.$queryRaw<JobRow[]>`
      SELECT ${COLUMNS} ${SOURCE} WHERE ${where} ORDER BY j.created_at DESC, j.id DESC LIMIT ${limit}`;
    return this.withReceipts(rows, sql);
  }

  private async withReceipts(rows: JobRow[], sql: Reader): Promise<Job[]> {
    const canceled = rows.filter((row) => row.requestedAt !== null);
    const stops =
      canceled.length === 0
        ? []
        : await this.stops(
            canceled.map((row) => row.jobId),
            sql,
          );
    return rows.map((row) => toJob(row, stops));
  }

  private stops(jobIds: string[], sql: Reader): Promise<StopRow[]> {
    return sql.$queryRaw<StopRow[]>`
      SELECT s.job_id::text AS "jobId", s.task_id::text AS "taskId", s.worker::text AS worker,
        s.delivered_at AS "deliveredAt", s.stopped_at AS "stoppedAt", s.fenced_at AS "fencedAt"
      FROM cancel_stops s JOIN jobs j ON j.id = s.job_id AND j.generation = s.generation
      WHERE s.job_id = ANY(${jobIds}::uuid[]) ORDER BY s.task_id`;
  }
}

/** A job as it was just accepted, which nobody needs to read again to know. */
export function newJobView(job: Omit<NewJob, 'idempotency' | 'dedupe' | 'direct'>, createdAt: Date): Job {
  const {
    jobId,
    ownerId,
    actor,
    type,
    queue,
    failurePolicy,
    maxAttempts,
    priority,
    payload,
    labels,
    runAt,
    expiresAt,
    units,
    schedule,
  } = job;
  const planned = units.some((unit) => unit.kind === 'plan');
  return {
    jobId,
    ownerId,
    submittedBy: actor,
    type,
    tag: queue === DEFAULT_QUEUE ? null : queue,
    status: runAt === null ? 'queued' : 'scheduled',
    progress: 0,
    detail: null,
    version: 1,
    generation: 1,
    failurePolicy,
    attempts: maxAttempts,
    priority,
    labels: labels ?? {},
    payload,
    tasks: { ...(planned ? {} : { total: units.length }), completed: 0, failed: 0, canceled: 0 },
    result: null,
    error: null,
    cancelReceipt: null,
    runAt,
    expiresAt,
    scheduleId: schedule?.scheduleId ?? null,
    slot: schedule?.slot ?? null,
    createdAt,
    startedAt: null,
    finishedAt: null,
  };
}

/** Field by field: what is copied with a rest or a spread of so many is several times slower to make and to write as JSON. */
function toJob(row: JobRow, stops: StopRow[]): Job {
  const { jobId, completed, failed, canceled, requestedAt } = row;
  return {
    jobId,
    ownerId: row.ownerId,
    submittedBy: row.submittedBy,
    type: row.type,
    tag: row.tag,
    status: row.status,
    progress: row.progress,
    detail: row.detail,
    version: row.version,
    generation: row.generation,
    failurePolicy: row.failurePolicy,
    attempts: row.attempts,
    priority: row.priority,
    labels: row.labels,
    payload: row.payload,
    result: row.result,
    error: row.error,
    runAt: row.runAt,
    expiresAt: row.expiresAt,
    scheduleId: row.scheduleId,
    slot: row.slot,
    createdAt: row.createdAt,
    startedAt: row.startedAt,
    finishedAt: row.finishedAt,
    tasks: row.planning ? { completed, failed, canceled } : { total: row.total, completed, failed, canceled },
    cancelReceipt:
      requestedAt === null
        ? null
        : receipt(
            { requestedAt, actor: row.cancelActor ?? '', reason: row.cancelReason },
            stops.filter((stop) => stop.jobId === jobId),
          ),
  };
}

function receipt(
  request: Pick<CancelReceipt, 'requestedAt' | 'actor' | 'reason'>,
  rows: StopRow[],
): CancelReceipt {
  const stops = rows.map(({ jobId: _jobId, ...stop }) => stop);
  return { state: receiptState(stops), ...request, stops };
}

function receiptState(stops: CancelReceipt['stops']): CancelReceipt['state'] {
  if (stops.every((stop) => stop.stoppedAt !== null)) return 'stopped';
  if (stops.every((stop) => stop.stoppedAt !== null || stop.fencedAt !== null)) return 'fenced';
  return stops.every((stop) => stop.deliveredAt !== null) ? 'delivered' : 'requested';
}
