import type { ExitedJob, JobFailure, Json } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';

/**
 * Part of every statement that ends jobs: opens the exit of those that have a hook, so that there is one for each end
 * and none without it. A retry and retention wait for it.
 * @param ended a part of the statement that has the `id` and the `exit_hook` of the jobs that it has just ended
 */
export const openExits = (ended: Prisma.Sql) => Prisma.sql`
  INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
  SELECT id, 'exit', id, '', clock_timestamp() FROM ${ended} WHERE exit_hook`;

/** Whether the exit of a job is still open. To be asked by who holds the lock of the job. */
export async function exitIsOpen(sql: Sql, jobId: string): Promise<boolean> {
  const rows = await sql.$queryRaw<unknown[]>`
    SELECT 1 FROM dispatch WHERE id = ${jobId}::uuid AND kind = 'exit'`;
  return rows.length > 0;
}

/** A turn at the exit hook of a job: what every write of it names. Epochs begin anew with a generation. */
export interface ExitTurn {
  jobId: string;
  generation: number;
  epoch: number;
}

/** A job that has ended, taken for a while to run its exit hook. */
export interface DueExit extends ExitTurn {
  ownerId: string;
  type: string;
  status: ExitedJob['status'];
  payload: Json;
  payloadVersion: number;
  result: Json | null;
  error: JobFailure | null;
  createdAt: Date;
  finishedAt: Date;
}

/** A job type whose exits can be run here, and how long after an end its attempts may still go on, in milliseconds. */
export interface ExitType {
  name: string;
  /** The highest version of a payload that its code takes. */
  version: number;
  graceMs: number;
}

/**
 * Takes exits of some job types whose last attempt has stopped, or was fenced past its grace; whoever else looks passes
 * them by until `leaseMs` is over. A receipt that nobody will write holds an exit up no longer than the grace.
 */
export async function takeDueExits(
  sql: Sql,
  types: ExitType[],
  limit: number,
  leaseMs: number,
): Promise<DueExit[]> {
  const names = types.map((type) => type.name);
  const versions = types.map((type) => type.version);
  const graces = types.map((type) => type.graceMs / 1000);
  return sql.$queryRaw<DueExit[]>`
    WITH due AS MATERIALIZED (
      SELECT d.id FROM dispatch d JOIN jobs j ON j.id = d.id
        JOIN unnest(${names}::text[], ${versions}::int[], ${graces}::float8[]) AS k(name, version, grace)
          ON k.name = j.type AND k.version >= j.payload_version
      WHERE d.kind = 'exit' AND d.look_again_at <= statement_timestamp() AND (
        j.finished_at < statement_timestamp() - make_interval(secs => k.grace)
        OR NOT EXISTS (
          SELECT FROM cancel_stops s
          WHERE s.job_id = j.id AND s.generation = j.generation AND s.stopped_at IS NULL AND s.fenced_at IS NULL
        ))
      ORDER BY d.look_again_at LIMIT ${limit} FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE dispatch d SET epoch = d.epoch + 1, failures = 0,
      look_again_at = clock_timestamp() + make_interval(secs => ${leaseMs / 1000}::float8)
    FROM due JOIN jobs j ON j.id = due.id
    WHERE d.id = due.id AND d.kind = 'exit'
    RETURNING d.id::text AS "jobId", d.epoch, j.generation, j.owner_id AS "ownerId", j.type, j.status, j.payload, j.payload_version AS "payloadVersion", j.result,
      CASE WHEN j.status = 'failed' THEN j.error END AS error, j.created_at AS "createdAt", j.finished_at AS "finishedAt"`;
}

/** The row of a turn, if it is still ours. No lock of the job is needed: it stays as it is while its exit is open. */
const held = (turn: ExitTurn) => Prisma.sql`
  d.id = ${turn.jobId}::uuid AND d.kind = 'exit' AND d.epoch = ${turn.epoch}
  AND j.id = d.id AND j.generation = ${turn.generation}`;

/** Keeps a turn for so much longer, or hands it back with `forMs` 0. False when it is over. */
export async function renewExit(sql: Sql, turn: ExitTurn, forMs: number): Promise<boolean> {
  const written = await sql.$executeRaw`
    UPDATE dispatch d SET look_again_at = clock_timestamp() + make_interval(secs => ${forMs / 1000}::float8)
    FROM jobs j WHERE ${held(turn)}`;
  return written === 1;
}

/**
 * Ends the exit of a job: its hook was run, and is not run again even if it threw, which is then the `reason`. The event
 * has the version of the end, for the job has not changed. False when the turn is over.
 */
export async function endExit(
  sql: Sql,
  turn: ExitTurn,
  actor: string,
  reason: string | null,
): Promise<boolean> {
  const written = await sql.$executeRaw`
    WITH gone AS (
      DELETE FROM dispatch d USING jobs j WHERE ${held(turn)} RETURNING j.id, j.generation, j.version
    )
    INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
    SELECT id, generation, version, 'job.exited', ${actor}, ${reason} FROM gone`;
  return written === 1;
}
