import type { JobEventKind, JobStatus } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';

/** A row of the ledger, or a mark of progress, of a job as it is now. */
export interface FeedRow {
  /** The transaction that has written it. */
  xid: bigint;
  seq: bigint;
  kind: JobEventKind | 'progress';
  jobId: string;
  ownerId: string;
  type: string;
  generation: number;
  version: number;
  at: Date;
  /** Of a row of tasks. */
  tasks: (string | { id: string; attempt?: number })[] | null;
  /** The job as it was at the look. */
  job: { status: JobStatus; generation: number; version: number; progress: number };
}

/** What was read between two looks. Undefined rows: they were more than anybody wants one by one. */
export interface FeedWindow {
  /** The look itself, as a `pg_snapshot`. */
  snapshot: string;
  rows: FeedRow[] | undefined;
}

interface Asked {
  /** Of these owners alone. */
  owners: string[];
  /** What was seen before, as a `pg_snapshot`. */
  after: string;
  /** The same of marks of progress; left out: none are read. */
  marksAfter?: string;
  /** Reads no more than was to be seen at an earlier look; default: all that is there. */
  upTo?: string;
  /** Rows of these owners. */
  most: number;
  /** Rows of anybody that are looked at for that. */
  scan?: number;
}

/** Rows of anybody that one look goes through: after an outage there may be any number. */
const MOST_SCANNED = 100_000;

interface Row extends Omit<FeedRow, 'job' | 'seq' | 'xid'> {
  snapshot: string;
  xid: string | null;
  seq: bigint | null;
  jobStatus: JobStatus;
  jobGeneration: number;
  jobVersion: number;
  jobProgress: number;
}

/** A look that sees nothing but who has committed by now. */
export async function lookAtTransactions(sql: Sql): Promise<string> {
  const [row] = await sql.$queryRaw<{ snapshot: string }[]>`SELECT pg_current_snapshot()::text AS snapshot`;
  return row?.snapshot ?? '';
}

/**
 * Reads what was committed since an earlier look, by when it becomes to be seen and not by its number: a transaction that
 * was open at that look, and has committed since, is read now. Those are named one by one, so that one that stays
 * open for hours costs nothing. Within a job rows come in the order in which they happened, for their numbers are given
 * under its lock.
 */
export async function readFeed(sql: Sql, asked: Asked): Promise<FeedWindow> {
  const rows = await sql.$queryRaw<(Row & { scanned: number })[]>(feedQuery(asked));
  const { snapshot = '', scanned = 0 } = rows[0] ?? {};
  const found = rows.filter((row) => row.seq !== null);
  const all = found.length <= asked.most && scanned <= (asked.scan ?? MOST_SCANNED);
  return { snapshot, rows: all ? found.map(toRow) : undefined };
}

/** The statement of {@link readFeed}. */
export function feedQuery({ owners, after, marksAfter, upTo, most, scan = MOST_SCANNED }: Asked): Prisma.Sql {
  const until =
    upTo === undefined ? Prisma.sql`pg_current_snapshot()` : Prisma.sql`${upTo}::text::pg_snapshot`;
  const events = unseen(
    Prisma.sql`seq, kind, job_id, generation, version, at, data->'tasks' AS tasks, xid FROM job_events`,
    after,
    until,
  );
  const marks =
    marksAfter === undefined
      ? Prisma.empty
      : Prisma.sql`UNION ALL ${unseen(
          Prisma.sql`seq, 'progress', job_id, generation, 0, at, NULL::jsonb, xid FROM progress_marks`,
          marksAfter,
          until,
        )}`;
  // The job is looked up row by row: a join as a whole would read all jobs for a few events.
  return Prisma.sql`
    WITH e AS MATERIALIZED (SELECT * FROM (${events} ${marks}) u LIMIT ${scan + 1})
    SELECT s.snapshot, s.scanned, r.xid::text AS xid, r.seq, r.kind, r.job_id::text AS "jobId", r.generation, r.version, r.at, r.tasks,
      r.owner_id AS "ownerId", r.type, r.status AS "jobStatus", r.job_generation AS "jobGeneration", r.job_version AS "jobVersion", r.job_progress AS "jobProgress"
    FROM (SELECT pg_current_snapshot()::text AS snapshot, (SELECT count(*) FROM e)::int AS scanned) s LEFT JOIN LATERAL (
      SELECT e.*, j.owner_id, j.type, j.status, j.generation AS job_generation, j.version AS job_version, j.progress AS job_progress
      FROM e CROSS JOIN LATERAL (
        SELECT owner_id, type, status, generation, version, progress FROM jobs
        WHERE id = e.job_id AND owner_id = ANY(${owners}::text[]) OFFSET 0
      ) j
      LIMIT ${most + 1}
    ) r ON true
    ORDER BY r.seq`;
}

/** Of a range with both ends Postgres expects few rows, so that the index is used whatever the table has become. */
function unseen(columns: Prisma.Sql, after: string, until: Prisma.Sql): Prisma.Sql {
  const seen = Prisma.sql`${after}::text::pg_snapshot`;
  return Prisma.sql`(
      SELECT ${columns} WHERE xid >= pg_snapshot_xmax(${seen}) AND xid < pg_snapshot_xmax(${until})
        AND pg_visible_in_snapshot(xid, ${until})
    ) UNION ALL (
      SELECT ${columns} WHERE xid = ANY(ARRAY(SELECT pg_snapshot_xip(${seen}))) AND pg_visible_in_snapshot(xid, ${until})
    )`;
}

function toRow({
  snapshot: _snapshot,
  scanned: _scanned,
  jobStatus,
  jobGeneration,
  jobVersion,
  jobProgress,
  xid,
  seq,
  ...row
}: Row & { scanned?: number }): FeedRow {
  return {
    ...row,
    xid: BigInt(xid ?? 0),
    seq: seq ?? 0n,
    job: { status: jobStatus, generation: jobGeneration, version: jobVersion, progress: jobProgress },
  };
}

/** The present state of a job, as it is told to who begins to listen. */
export interface PresentJob {
  jobId: string;
  type: string;
  status: JobStatus;
  progress: number;
  version: number;
  at: Date;
}

const PRESENT = Prisma.sql`id::text AS "jobId", type, status, progress, version,
  COALESCE(finished_at, started_at, created_at) AS at`;

/** Jobs as they are, and who had committed when they were read. */
export interface Present {
  snapshot: string;
  jobs: PresentJob[];
}

/** The owner's jobs of these ids; those that are not there, or of somebody else, are left out. */
export function readPresent(sql: Sql, ownerId: string, jobIds: string[]): Promise<Present> {
  return present(
    sql,
    Prisma.sql`SELECT ${PRESENT} FROM jobs WHERE id = ANY(${jobIds}::uuid[]) AND owner_id = ${ownerId} ORDER BY id`,
  );
}

/** The owner's open jobs, newest first, of some types or of all. */
export function readOpen(
  sql: Sql,
  ownerId: string,
  types: string[] | undefined,
  limit: number,
): Promise<Present> {
  return present(
    sql,
    Prisma.sql`
    SELECT ${PRESENT} FROM jobs
    WHERE owner_id = ${ownerId} AND finished_at IS NULL AND (${types === undefined} OR type = ANY(${types ?? []}::text[]))
    ORDER BY created_at DESC, id DESC LIMIT ${limit}`,
  );
}

async function present(sql: Sql, jobs: Prisma.Sql): Promise<Present> {
  const rows = await sql.$queryRaw<
    (Omit<PresentJob, 'jobId'> & { snapshot: string; jobId: string | null })[]
  >`
    SELECT s.snapshot, j.* FROM (SELECT pg_current_snapshot()::text AS snapshot) s LEFT JOIN (${jobs}) j ON true`;
  return {
    snapshot: rows[0]?.snapshot ?? '',
    jobs: rows.flatMap(({ snapshot: _snapshot, jobId, ...job }) =>
      jobId === null ? [] : [{ jobId, ...job }],
    ),
  };
}

/** A snapshot in which nothing was seen. */
export const NOTHING_SEEN = '1:1:';

/** A row of the ledger of one job. */
export interface JobFeedRow extends FeedRow {
  /** Whether its transaction has written nothing of the job after it. */
  last: boolean;
}

/**
 * Rows of the ledger of one job of the owner that were not seen at an earlier look, however long ago that was, in the order of
 * their numbers. Rows from before transactions were noted count as seen by any look.
 * @param upTo reads no more than was to be seen at a later look; default: all that is there
 */
export async function readJobFeed(
  sql: Sql,
  ownerId: string,
  jobId: string,
  asked: { after: string; upTo?: string; seq: bigint; limit: number },
): Promise<{ snapshot: string; rows: JobFeedRow[] }> {
  const { after, upTo, seq, limit } = asked;
  const until =
    upTo === undefined ? Prisma.sql`pg_current_snapshot()` : Prisma.sql`${upTo}::text::pg_snapshot`;
  const rows = await sql.$queryRaw<(Row & { last: boolean })[]>`
    SELECT s.snapshot, r.* FROM (SELECT pg_current_snapshot()::text AS snapshot) s LEFT JOIN (
      SELECT COALESCE(e.xid::text, '1') AS xid, e.seq, e.kind, e.job_id::text AS "jobId", e.generation, e.version, e.at,
        e.data->'tasks' AS tasks, j.owner_id AS "ownerId", j.type, j.status AS "jobStatus", j.generation AS "jobGeneration",
        j.version AS "jobVersion", j.progress AS "jobProgress",
        NOT EXISTS (SELECT FROM job_events l WHERE l.job_id = e.job_id AND l.xid = e.xid AND l.seq > e.seq) AS last
      FROM jobs j JOIN job_events e ON e.job_id = j.id
      WHERE j.id = ${jobId}::uuid AND j.owner_id = ${ownerId} AND e.seq > ${seq}
        AND NOT pg_visible_in_snapshot(COALESCE(e.xid, '1'::xid8), ${after}::text::pg_snapshot)
        AND pg_visible_in_snapshot(COALESCE(e.xid, '1'::xid8), ${until})
      ORDER BY e.seq LIMIT ${limit}
    ) r ON true ORDER BY r.seq`;
  const found = rows.filter((row) => row.seq !== null);
  return {
    snapshot: rows[0]?.snapshot ?? '',
    rows: found.map(({ last, ...row }) => ({ ...toRow(row), last })),
  };
}

/** Marks that were read by all who were to read them are deleted, oldest first, a bounded number at a time. */
export async function deleteOldMarks(sql: Sql, keepMs: number, limit: number): Promise<number> {
  return sql.$executeRaw`
    DELETE FROM progress_marks WHERE seq = ANY(ARRAY(SELECT seq FROM (
      SELECT seq, at FROM progress_marks ORDER BY seq LIMIT ${limit}
    ) m WHERE m.at < statement_timestamp() - make_interval(secs => ${keepMs / 1000}::float8)))`;
}
