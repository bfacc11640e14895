import type { FailurePolicy, Json } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { isLockTimeout } from '@app/platform/prisma/sql-errors.js';
import { type DedupeKey, dedupeRows, findHolders, takeDedupeKeys } from './dedupe-keys.js';

/** Milliseconds after the commit at which the sweeper looks whether the message of a new task has led to a claim. */
export const FIRST_LOOK_MS = 2000;

/** A checked job, ready to be written. Ids are made before, so that a lost reply can be looked up. */
export interface NewJob {
  jobId: string;
  ownerId: string;
  actor: string;
  type: string;
  payloadVersion: number;
  queue: string;
  failurePolicy: FailurePolicy;
  maxAttempts: number;
  resumable: boolean;
  finalize: boolean;
  /** Whether something runs when the job has ended. */
  exitHook: boolean;
  /** A scheduled job has one dispatch row, and its tasks get theirs when it is due. */
  runAt: Date | null;
  expiresAt: Date | null;
  maxRuntimeMs: number | null;
  priority: number;
  /** The order among the owner's tasks; see `rankOf`. */
  rank: number;
  payload: Json;
  /** Null: it has none. */
  labels: Record<string, string> | null;
  /** The keys of its labels by which it can be found. */
  searchable: readonly string[];
  catalog: Json | null;
  /** The hidden plan at position -1, or the tasks from position 0. A null payload means the job's. */
  units: {
    taskId: string;
    kind: 'task' | 'plan';
    position: number;
    key: string | null;
    payload: Json | null;
  }[];
  idempotency: { key: string; bodyHash: string } | null;
  /** Which slot of which schedule it is of; absent where somebody has submitted it. */
  schedule?: { scheduleId: string; slot: Date };
  /** What no other open job may hold. */
  dedupe: DedupeKey[];
  /** How many of the units, from the first on, are sent after the commit. The others are held until they are admitted. */
  direct: number;
}

/** What the statements of an accept are run on, which may be a transaction of the caller. */
type Reader = Pick<Sql, '$queryRaw'>;

/** The idempotency key was used before: by the same body (the earlier job), or by another one. */
export type KeyUse = { kind: 'replayed'; jobId: string } | { kind: 'mismatch' };

/** What became of one submitted job. */
export type Acceptance =
  | { kind: 'accepted'; jobId: string; createdAt: Date }
  | KeyUse
  /** Another open job holds a key of this one. */
  | { kind: 'duplicate'; jobId: string };

/** A transaction that is open holds a key of this job, or of another one of the batch. Nothing was written of it. */
export interface KeyLocked {
  kind: 'locked';
}

/**
 * Lets the statement that it is a part of wait no longer for a lock. In a transaction it would hold for all that comes
 * after; on its own, as here, a statement is its own transaction, and no session is changed.
 */
const waitingFor = (lockMs: number | undefined) =>
  lockMs === undefined
    ? Prisma.sql`true`
    : Prisma.sql`(SELECT set_config('lock_timeout', ${String(lockMs)}, true)) IS NOT NULL`;

/**
 * Writes jobs with their tasks, dispatch rows and first event in one statement, so that a job exists whole or
 * not at all. Of several submits with one idempotency key the first to commit wins and the others get its job. Keys are
 * locked in one order: dedupe keys, then idempotency keys, for a refused job must leave its idempotency key free.
 * Answers come in the order of `jobs`.
 */
export async function acceptJobs(sql: Reader, jobs: NewJob[], incarnation: string): Promise<Acceptance[]>;
/** @param lockMs how long it waits at most for keys that an open transaction holds; not to be used within one */
export async function acceptJobs(
  sql: Reader,
  jobs: NewJob[],
  incarnation: string,
  lockMs: number,
): Promise<(Acceptance | KeyLocked)[]>;
export async function acceptJobs(
  sql: Reader,
  jobs: NewJob[],
  incarnation: string,
  lockMs?: number,
): Promise<(Acceptance | KeyLocked)[]> {
  try {
    return await writeJobs(sql, jobs, incarnation, lockMs);
  } catch (error) {
    // The statement that waits for keys is the one that writes the jobs, so nothing of them is there.
    if (lockMs === undefined || !isLockTimeout(error)) throw error;
    return jobs.map(() => ({ kind: 'locked' }));
  }
}

async function writeJobs(
  sql: Reader,
  jobs: NewJob[],
  incarnation: string,
  lockMs: number | undefined,
): Promise<(Acceptance | KeyLocked)[]> {
  const keyed = jobs
    .filter((job) => job.idempotency !== null)
    .map((job) => ({
      owner_id: job.ownerId,
      key: job.idempotency?.key ?? '',
      body_hash: job.idempotency?.bodyHash,
      job_id: job.jobId,
    }))
    .toSorted((a, b) => compare(a.owner_id, b.owner_id) || compare(a.key, b.key));
  const dedupe = dedupeRows(jobs);
  const rows = jobs.map((job) => ({
    id: job.jobId,
    owner_id: job.ownerId,
    submitted_by: job.actor,
    type: job.type,
    payload_version: job.payloadVersion,
    queue: job.queue,
    failure_policy: job.failurePolicy,
    max_attempts: job.maxAttempts,
    resumable: job.resumable,
    finalize: job.finalize,
    exit_hook: job.exitHook,
    run_at: job.runAt ?? undefined,
    expires_at: job.expiresAt ?? undefined,
    max_runtime_ms: job.maxRuntimeMs ?? undefined,
    priority: job.priority,
    rank: job.rank,
    payload: job.payload,
    labels: job.labels ?? undefined,
    catalog: job.catalog ?? undefined,
    schedule_id: job.schedule?.scheduleId,
    slot: job.schedule?.slot,
    keyed: job.idempotency !== null,
    dedupe: job.dedupe.length === 0 ? undefined : job.dedupe,
    dedupe_count: job.dedupe.length,
    planning: job.units.some((unit) => unit.kind === 'plan'),
    tasks_total: job.units.filter((unit) => unit.kind === 'task').length,
  }));
  const units = jobs.flatMap((job) =>
    job.units.map((unit, nth) => ({
      id: unit.taskId,
      job_id: job.jobId,
      kind: unit.kind,
      position: unit.position,
      key: unit.key,
      payload: unit.payload ?? undefined,
      held: nth >= job.direct,
    })),
  );
  const accepted = await sql.$queryRaw<{ id: string; createdAt: Date }[]>`
    WITH held AS (
      ${takeDedupeKeys(dedupe, waitingFor(lockMs))}
    ), alone AS MATERIALIZED (
      SELECT i.id FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS i(id uuid, dedupe_count int)
      WHERE dedupe_count = 0 OR dedupe_count = (SELECT count(*) FROM held WHERE held.job_id = i.id)
    ), k AS (
      INSERT INTO idempotency_keys (owner_id, key, body_hash, job_id)
      SELECT owner_id, key, body_hash, job_id
      FROM jsonb_to_recordset(${JSON.stringify(keyed)}::jsonb) AS i(owner_id text, key text, body_hash text, job_id uuid)
      WHERE ${waitingFor(lockMs)} AND job_id IN (SELECT id FROM alone)
      ON CONFLICT DO NOTHING
      RETURNING job_id
    ), j AS (
      INSERT INTO jobs (id, owner_id, submitted_by, type, payload_version, queue, status, failure_policy, max_attempts, resumable,
                        finalize, exit_hook, run_at, expires_at, max_runtime_ms, priority, rank, payload, labels, catalog, schedule_id, slot, dedupe, planning, tasks_total, created_at)
      SELECT i.id, owner_id, submitted_by, type, payload_version, queue,
             CASE WHEN run_at IS NULL THEN 'queued' ELSE 'scheduled' END, failure_policy, max_attempts, resumable,
             finalize, exit_hook, run_at, expires_at, max_runtime_ms, priority, rank, COALESCE(payload, 'null'::jsonb), labels, catalog, schedule_id, slot, dedupe, planning, tasks_total,
             -- A transaction that fires slots may have begun before the slot.
             CASE WHEN schedule_id IS NULL THEN now() ELSE clock_timestamp() END
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS i(id uuid, owner_id text, submitted_by text, type text, payload_version int, queue text, failure_policy text,
             max_attempts smallint, resumable boolean, finalize boolean, exit_hook boolean, run_at timestamptz, expires_at timestamptz,
             max_runtime_ms bigint, priority smallint, rank float8, payload jsonb, labels jsonb, catalog jsonb, schedule_id uuid, slot timestamptz, dedupe jsonb,
             keyed boolean, planning boolean, tasks_total int)
      WHERE i.id IN (SELECT id FROM alone) AND (NOT keyed OR i.id IN (SELECT job_id FROM k))
      RETURNING id, owner_id, type, queue, submitted_by, status, run_at, expires_at, rank, created_at
    ), u AS MATERIALIZED (
      SELECT i.*, j.queue, j.status, j.owner_id, j.type, j.rank
      FROM jsonb_to_recordset(${JSON.stringify(units)}::jsonb)
        AS i(id uuid, job_id uuid, kind text, position int, key text, payload jsonb, held boolean)
      JOIN j ON j.id = i.job_id
    ), t AS (
      INSERT INTO tasks (id, job_id, position, kind) SELECT id, job_id, position, kind FROM u
    ), i AS (
      INSERT INTO task_inputs (job_id, position, task_id, key, payload)
      SELECT job_id, position, id, key, payload FROM u
    ), d AS (
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at, incarnation)
      SELECT id, kind, job_id, queue, clock_timestamp() + make_interval(secs => ${FIRST_LOOK_MS / 1000}::float8),
             ${incarnation}
      FROM u WHERE status = 'queued' AND NOT held
    ), h AS (
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at, gate, owner_id, type, rank)
      SELECT id, kind, job_id, queue, 'infinity', 'held', owner_id, type, rank FROM u WHERE status = 'queued' AND held
    ), w AS (
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
      SELECT id, 'start', id, '', run_at FROM j WHERE status = 'scheduled'
      UNION ALL
      SELECT id, 'deadline', id, '', expires_at FROM j WHERE expires_at IS NOT NULL
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor) SELECT id, 1, 1, 'job.' || status, submitted_by FROM j
    )${insertLabels(jobs)}
    SELECT id, created_at AS "createdAt" FROM j`;
  const written = new Map(accepted.map((row) => [row.id, row.createdAt]));
  const losers = jobs.filter((job) => !written.has(job.jobId));
  const earlier = losers.length === 0 ? [] : await findKeys(sql, losers);
  const keyOf = (job: NewJob) =>
    earlier.find((row) => row.owner_id === job.ownerId && row.key === job.idempotency?.key);
  const rest = losers.filter((job) => !keyOf(job));
  // Of all losers: a repeat may have taken a key for a job that was then not written.
  const holders = await findHolders(sql, dedupeRows(losers));
  const holderOf = (job: NewJob) =>
    holders.find((row) => job.dedupe.some(({ scope, key }) => scope === row.scope && key === row.key));
  // Who had the key has ended, or was deleted by retention, between the two statements: it is free again.
  const freed = rest.filter((job) => !holderOf(job));
  const again = () =>
    lockMs === undefined ? acceptJobs(sql, freed, incarnation) : acceptJobs(sql, freed, incarnation, lockMs);
  const later = freed.length === 0 ? [] : await again();
  return jobs.map((job): Acceptance | KeyLocked => {
    const createdAt = written.get(job.jobId);
    if (createdAt) return { kind: 'accepted', jobId: job.jobId, createdAt };
    const known = keyOf(job);
    const holder = known ? undefined : holderOf(job);
    if (holder) return { kind: 'duplicate', jobId: holder.job_id };
    if (!known) return later[freed.indexOf(job)] as Acceptance | KeyLocked;
    return useOf(known, job.idempotency?.bodyHash);
  });
}

/** One more part of the statement, where a job has labels by which it can be found; for others there is nothing to do. */
function insertLabels(jobs: NewJob[]): Prisma.Sql {
  const rows = jobs.flatMap((job) =>
    job.searchable.flatMap((key) => {
      const { jobId: id, labels } = job;
      return labels !== null && Object.hasOwn(labels, key) ? [{ id, key, value: labels[key] }] : [];
    }),
  );
  if (rows.length === 0) return Prisma.empty;
  return Prisma.sql`, l AS (
      INSERT INTO job_labels (owner_id, key, value, created_at, job_id)
      SELECT j.owner_id, i.key, i.value, j.created_at, j.id
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS i(id uuid, key text, value text)
      JOIN j ON j.id = i.id
    )`;
}

/** How an idempotency key was used before; undefined when it was not. */
export async function lookUpKey(
  sql: Reader,
  ownerId: string,
  idempotency: { key: string; bodyHash: string },
): Promise<KeyUse | undefined> {
  const [known] = await findKeys(sql, [{ ownerId, idempotency }]);
  return known && useOf(known, idempotency.bodyHash);
}

function useOf(known: KeyRow, bodyHash: string | undefined): KeyUse {
  return known.body_hash === bodyHash ? { kind: 'replayed', jobId: known.job_id } : { kind: 'mismatch' };
}

interface KeyRow {
  owner_id: string;
  key: string;
  body_hash: string;
  job_id: string;
}

/** Read in a statement of its own: the winner committed after the snapshot of the insert was taken. */
async function findKeys(sql: Reader, jobs: Pick<NewJob, 'ownerId' | 'idempotency'>[]): Promise<KeyRow[]> {
  const owners = jobs.map((job) => job.ownerId);
  const keys = jobs.map((job) => job.idempotency?.key ?? '');
  return sql.$queryRaw<KeyRow[]>`
    SELECT k.owner_id, k.key, k.body_hash, k.job_id
    FROM unnest(${owners}::text[], ${keys}::text[]) AS m(owner_id, key)
    JOIN idempotency_keys k ON k.owner_id = m.owner_id AND k.key = m.key`;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
