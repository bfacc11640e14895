import type { JobFailure, Json } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { openExits } from './exit-hooks.js';
import { openNotices } from './outbox.js';

/** A turn at finalizing a job: what every write of it names. Epochs begin anew with a generation. */
export interface FinalizationTurn {
  jobId: string;
  generation: number;
  epoch: number;
}

/** A job that waits to be finalized, taken for a while. */
export interface DueFinalization extends FinalizationTurn {
  ownerId: string;
  type: string;
  payload: Json;
  payloadVersion: number;
  catalog: { [key: string]: Json } | null;
  maxAttempts: number;
  createdAt: Date;
  /** The stored call, once it has been computed. */
  call: { key: string; body: string; attempts: number } | null;
}

/**
 * Takes jobs whose finalization is due; whoever else looks passes them by until `leaseMs` is over. What earlier
 * turns have written is read by a statement of its own: from the commit of the first one on they write nothing more.
 * @param stored false: leaves those alone of which only the call of the Catalog is left
 */
export async function takeDueFinalizations(
  sql: Sql,
  limit: number,
  leaseMs: number,
  stored = true,
): Promise<DueFinalization[]> {
  const taken = await sql.$queryRaw<{ id: string; epoch: number }[]>`
    WITH due AS MATERIALIZED (
      SELECT id FROM dispatch WHERE kind = 'finalize' AND look_again_at <= statement_timestamp()
        AND (${stored} OR NOT EXISTS (
          SELECT FROM catalog_calls c JOIN jobs j ON j.id = c.job_id AND j.generation = c.generation WHERE c.job_id = dispatch.id
        ))
      ORDER BY look_again_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    UPDATE dispatch d SET epoch = d.epoch + 1,
      look_again_at = clock_timestamp() + make_interval(secs => ${leaseMs / 1000}::float8)
    FROM due WHERE d.id = due.id AND d.kind = 'finalize'
    RETURNING d.id::text AS id, d.epoch`;
  if (taken.length === 0) return [];
  const ids = taken.map((turn) => turn.id);
  const epochs = taken.map((turn) => turn.epoch);
  return sql.$queryRaw<DueFinalization[]>`
    SELECT j.id::text AS "jobId", taken.epoch, j.owner_id AS "ownerId", j.type, j.generation, j.payload, j.payload_version AS "payloadVersion", j.catalog,
      j.max_attempts AS "maxAttempts", j.created_at AS "createdAt",
      CASE WHEN c.job_id IS NULL THEN NULL
        ELSE jsonb_build_object('key', c.idempotency_key, 'body', c.body, 'attempts', c.attempts) END AS call
    FROM unnest(${ids}::uuid[], ${epochs}::int[]) AS taken(id, epoch) JOIN jobs j ON j.id = taken.id
      LEFT JOIN catalog_calls c ON c.job_id = j.id AND c.generation = j.generation`;
}

/**
 * Whether the turn is still ours, as the first part of every statement below: locks the job and then the dispatch
 * row, so that no other turn begins while it writes. A snapshot alone would not tell of one that has just begun.
 */
const held = (turn: FinalizationTurn) => Prisma.sql`
  open AS MATERIALIZED (
    SELECT id FROM jobs WHERE id = ${turn.jobId}::uuid AND generation = ${turn.generation} AND status = 'finalizing'
    FOR NO KEY UPDATE
  ), held AS MATERIALIZED (
    SELECT d.id FROM dispatch d
    WHERE d.id IN (SELECT id FROM open) AND d.kind = 'finalize' AND d.epoch = ${turn.epoch} FOR UPDATE
  )`;

/** Stores what will be posted, before the first POST, so that every later one says the same. False when the turn is over. */
export async function storeCatalogCall(
  sql: Sql,
  turn: FinalizationTurn,
  call: { key: string; body: string } | null,
  result: Json | undefined,
): Promise<boolean> {
  const written = await sql.$executeRaw`
    WITH ${held(turn)}, j AS (
      UPDATE jobs SET result = COALESCE(${result === undefined ? null : JSON.stringify(result)}::jsonb, result)
      WHERE id IN (SELECT id FROM held)
      RETURNING id, generation
    ), c AS (
      INSERT INTO catalog_calls (job_id, generation, idempotency_key, body)
      SELECT id, generation, ${call?.key ?? ''}, ${call?.body ?? ''} FROM j WHERE ${call !== null}
      ON CONFLICT (job_id, generation) DO NOTHING
    )
    UPDATE dispatch SET look_again_at = look_again_at WHERE id IN (SELECT id FROM j) AND kind = 'finalize'`;
  return written === 1;
}

/** Counts a POST before it is made. False when the turn is over: it must not be made. */
export async function countCatalogCall(sql: Sql, turn: FinalizationTurn): Promise<boolean> {
  const written = await sql.$executeRaw`
    WITH ${held(turn)}
    UPDATE catalog_calls c SET attempts = attempts + 1
    FROM jobs j
    WHERE j.id IN (SELECT id FROM held) AND c.job_id = j.id AND c.generation = j.generation`;
  return written === 1;
}

/** Ends a job in `finalizing`: completed, or failed with an error. False when the turn is over. */
export async function endFinalization(
  sql: Sql,
  turn: FinalizationTurn,
  actor: string,
  error: JobFailure | null,
): Promise<boolean> {
  const status = error === null ? 'completed' : 'failed';
  const written = await sql.$executeRaw`
    WITH ${held(turn)}, j AS (
      UPDATE jobs SET status = ${status}, outcome = ${status}, version = version + 1, finished_at = clock_timestamp(),
        progress = CASE WHEN ${status} = 'completed' THEN 100 ELSE progress END,
        error = ${error === null ? null : JSON.stringify(error)}::jsonb
      WHERE id IN (SELECT id FROM held)
      RETURNING id, generation, version, exit_hook, status, error, finished_at, owner_id, type, labels, notify
    ), x AS (${openExits(Prisma.sql`j`)}), o AS (${openNotices(Prisma.sql`j`)}), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
      SELECT id, generation, version, ${`job.${status}`}, ${actor}, ${error?.code ?? null} FROM j
    )
    DELETE FROM dispatch WHERE id IN (SELECT id FROM j) AND kind = 'finalize'`;
  return written === 1;
}

/** Keeps a turn for so much longer. A turn that is over stays so. */
export async function renewTurn(sql: Sql, turn: FinalizationTurn, leaseMs: number): Promise<void> {
  await sql.$executeRaw`
    UPDATE dispatch SET look_again_at = clock_timestamp() + make_interval(secs => ${leaseMs / 1000}::float8)
    WHERE id = ${turn.jobId}::uuid AND kind = 'finalize' AND epoch = ${turn.epoch}`;
}

/** Counts a failure of the job's own code, and answers how many there were. Undefined when the turn is over. */
export async function countOwnFailure(sql: Sql, turn: FinalizationTurn): Promise<number | undefined> {
  const [row] = await sql.$queryRaw<{ failures: number }[]>`
    WITH ${held(turn)}
    UPDATE dispatch SET failures = failures + 1 WHERE id IN (SELECT id FROM held) AND kind = 'finalize'
    RETURNING failures`;
  return row?.failures;
}

/** Ends a turn and lets the finalization be taken up again after a while. */
export async function postponeFinalization(
  sql: Sql,
  turn: FinalizationTurn,
  delayMs: number,
  reason: string,
): Promise<void> {
  await sql.$executeRaw`
    WITH ${held(turn)}, c AS (
      UPDATE catalog_calls c SET last_error = ${reason} FROM jobs j
      WHERE j.id IN (SELECT id FROM held) AND c.job_id = j.id AND c.generation = j.generation
    )
    UPDATE dispatch SET epoch = epoch + 1,
      look_again_at = clock_timestamp() + make_interval(secs => ${delayMs / 1000}::float8)
    WHERE id IN (SELECT id FROM held) AND kind = 'finalize'`;
}

/** The results of a job's completed tasks after a position, in order. */
export async function completedResults(
  sql: Sql,
  jobId: string,
  after: number,
  limit: number,
): Promise<{ taskId: string; position: number; key: string | null; result: Json | null }[]> {
  return sql.$queryRaw`
    SELECT t.id::text AS "taskId", i.position, i.key, o.result
    FROM task_inputs i JOIN tasks t ON t.id = i.task_id LEFT JOIN task_outputs o ON o.task_id = t.id
    WHERE i.job_id = ${jobId}::uuid AND i.position > ${after} AND COALESCE(t.kind = 'task' AND t.status = 'completed', false)
    ORDER BY i.position LIMIT ${limit}`;
}

/** Notes for how much longer the Catalog is spared; 0: no more. */
export async function noteCircuit(sql: Sql, openMs: number): Promise<void> {
  await sql.$executeRaw`
    INSERT INTO settings (key, value)
    VALUES ('catalog-circuit-until', (clock_timestamp() + make_interval(secs => ${openMs / 1000}::float8))::text)
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value`;
}
