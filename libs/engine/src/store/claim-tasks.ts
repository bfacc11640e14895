import { type Json, taskSourcesOf } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';

/** A delivery that wants to run. The nonce makes a claim repeated after a lost reply recognisable. */
export interface ClaimMember {
  taskId: string;
  nonce: string;
  /** Of the message: one of an earlier epoch is late and must not begin a waiting attempt before its time. */
  epoch?: number;
}

/** A claimed task with all that its handler needs. Every later write names `fence`. */
export interface ClaimedTask {
  taskId: string;
  jobId: string;
  ownerId: string;
  type: string;
  kind: 'task' | 'plan';
  fence: number;
  attempt: number;
  maxAttempts: number;
  resumable: boolean;
  generation: number;
  position: number;
  key: string | null;
  payload: Json;
  jobPayload: Json;
  payloadVersion: number;
  checkpoint: Json | null;
  jobCreatedAt: Date;
  /** Whether it ran when a worker died. */
  suspect: boolean;
  /** Deaths of its process while it ran alone. */
  crashes: number;
}

/**
 * `not-open`: ended, running elsewhere or unknown. `busy`: somebody holds the row; try again. `lacking`: the worker has
 * no code for it; nothing was written.
 */
export type ClaimResult = { kind: 'claimed'; task: ClaimedTask } | { kind: 'busy' | 'not-open' | 'lacking' };

interface Row extends ClaimedTask {
  outcome: ClaimResult['kind'];
  member: string;
}

/**
 * Claims tasks for a worker in one statement: fence and attempt rise by one, the lease runs by the clock of
 * Postgres, and a job whose first task this is becomes active. A job row is locked only for that. What is held is not
 * to be had, and what is of a paused type or tag is held from now on.
 * @param types what the worker has code for: the version of each job type, by name; everything when it is left out
 */
export async function claimTasks(
  sql: Sql,
  members: ClaimMember[],
  worker: string,
  leaseMs: number,
  types?: Record<string, number>,
): Promise<Map<string, ClaimResult>> {
  const ids = members.map((member) => member.taskId);
  const nonces = members.map((member) => member.nonce);
  const epochs = members.map((member) => member.epoch ?? null);
  const open = taskSourcesOf('claim');
  const lease = leaseMs / 1000;
  const known = types === undefined ? null : JSON.stringify(types);
  // Estimates decide how Postgres joins. COALESCE hides from it that few rows have one state among many that have
  // ended: it would take a batch for a single row, and join it with another of such row by row.
  const rows = await sql.$queryRaw<Row[]>`
    WITH m AS MATERIALIZED (
      SELECT * FROM unnest(${ids}::uuid[], ${nonces}::uuid[], ${epochs}::int[]) AS m(task_id, nonce, epoch) ORDER BY 1 OFFSET 0
    ), paused AS MATERIALIZED (
      SELECT d.id, d.kind, d.epoch, j.owner_id, j.type, j.rank
      FROM m JOIN dispatch d ON d.id = m.task_id JOIN jobs j ON j.id = d.job_id JOIN tasks t ON t.id = d.id
      WHERE EXISTS (SELECT FROM pauses) AND t.status <> 'active' AND EXISTS (
        SELECT FROM pauses p WHERE (p.kind, p.name) IN (('type', j.type), ('tag', d.queue))
          AND (p.until IS NULL OR p.until > clock_timestamp())
      )
    ), parked AS (
      UPDATE dispatch d SET gate = 'held', look_again_at = 'infinity', incarnation = '', owner_id = l.owner_id,
        type = l.type, rank = l.rank
      FROM (
        SELECT p.* FROM paused p JOIN dispatch d ON d.id = p.id AND d.kind = p.kind AND d.epoch = p.epoch
        ORDER BY d.id FOR UPDATE OF d SKIP LOCKED
      ) l WHERE d.id = l.id AND d.kind = l.kind
    ), seen AS MATERIALIZED (
      SELECT t.id, t.job_id, t.kind, t.status, t.fence, t.attempt, t.position, t.suspect, t.crashes, m.nonce AS claim,
        t.nonce = m.nonce AS again
      FROM m JOIN tasks t ON t.id = m.task_id LEFT JOIN dispatch d ON d.id = t.id AND d.kind = t.kind
      WHERE (m.epoch IS NULL OR d.epoch IS NULL OR d.epoch = m.epoch) AND d.gate IS DISTINCT FROM 'held'
        AND t.id NOT IN (SELECT id FROM paused)
    ), mute AS MATERIALIZED (
      SELECT id FROM jobs WHERE id IN (SELECT job_id FROM seen) AND ${known}::jsonb IS NOT NULL
        AND (payload_version <= (${known}::jsonb->>type)::int) IS NOT TRUE
    ), opened AS (
      UPDATE jobs j SET status = 'active', version = j.version + 1, started_at = COALESCE(j.started_at, clock_timestamp())
      FROM (
        SELECT id FROM jobs
        WHERE id IN (SELECT job_id FROM seen WHERE status = ANY(${open}::text[])) AND COALESCE(status = 'queued' AND id NOT IN (SELECT id FROM mute), false)
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
      ) q
      WHERE j.id = q.id
      RETURNING j.id, j.generation, j.version, j.started_at, j.expires_at, j.max_runtime_ms
    ), locked AS MATERIALIZED (
      SELECT t.id, s.claim, j.generation, j.version + (j.id IN (SELECT id FROM opened))::int AS version, j.owner_id, j.type,
        j.max_attempts, j.resumable, j.payload, j.payload_version, j.created_at
      FROM seen s JOIN jobs j ON j.id = s.job_id JOIN tasks t ON t.id = s.id
      WHERE COALESCE((j.status = 'active' OR j.id IN (SELECT id FROM opened)) AND t.status = ANY(${open}::text[])
        AND j.id NOT IN (SELECT id FROM mute), false)
      ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    ), claimed AS (
      UPDATE tasks t SET status = 'active', fence = t.fence + 1, attempt = t.attempt + 1, nonce = l.claim,
        worker = ${worker}::uuid, lease_until = clock_timestamp() + make_interval(secs => ${lease}::float8),
        started_at = COALESCE(t.started_at, clock_timestamp())
      FROM locked l WHERE t.id = l.id
      RETURNING t.id, t.job_id, t.kind, t.fence, t.attempt, t.position, l.generation, l.version, l.owner_id, l.type,
        l.max_attempts, l.resumable, l.payload, l.payload_version, l.created_at, t.suspect, t.crashes
    ), d AS (
      -- Held only since this statement began: what runs is not held.
      UPDATE dispatch d SET look_again_at = clock_timestamp() + make_interval(secs => ${lease}::float8),
        gate = CASE WHEN d.gate = 'held' THEN 'admitted' ELSE d.gate END
      FROM claimed c WHERE d.id = c.id AND d.kind = c.kind
    ), mine AS (
      SELECT * FROM claimed
      UNION ALL
      SELECT s.id, s.job_id, s.kind, s.fence, s.attempt, s.position, j.generation, j.version, j.owner_id, j.type,
        j.max_attempts, j.resumable, j.payload, j.payload_version, j.created_at, s.suspect, s.crashes
      FROM seen s JOIN jobs j ON j.id = s.job_id WHERE s.status = 'active' AND s.again
    ), limited AS (
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
      SELECT id, 'deadline', id, '', started_at + make_interval(secs => max_runtime_ms / 1000.0)
      FROM opened WHERE max_runtime_ms IS NOT NULL
      ON CONFLICT (id, kind) DO UPDATE SET look_again_at = EXCLUDED.look_again_at
    ), begun AS (
      DELETE FROM dispatch
      WHERE kind = 'deadline'
        AND id = ANY(ARRAY(SELECT id FROM opened WHERE expires_at IS NOT NULL AND max_runtime_ms IS NULL))
    ), e1 AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor)
      SELECT id, generation, version, 'job.active', 'worker:' || ${worker} FROM opened
    ), e2 AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, data)
      SELECT job_id, generation, version, 'tasks.active', 'worker:' || ${worker},
        jsonb_build_object('tasks', jsonb_agg(jsonb_build_object('id', id, 'fence', fence, 'attempt', attempt)))
      FROM claimed WHERE kind = 'task' GROUP BY job_id, generation, version
    )
    SELECT c.id::text AS member, 'claimed' AS outcome,
      c.id::text AS "taskId", c.job_id::text AS "jobId", c.kind, c.fence, c.attempt, c.position,
      c.owner_id AS "ownerId", c.type, c.max_attempts AS "maxAttempts", c.resumable, c.generation,
      i.key, COALESCE(i.payload, c.payload) AS payload, c.payload AS "jobPayload", c.payload_version AS "payloadVersion", o.checkpoint, c.created_at AS "jobCreatedAt",
      c.suspect, c.crashes
    FROM mine c
      LEFT JOIN task_inputs i ON i.job_id = c.job_id AND i.position = c.position
      LEFT JOIN task_outputs o ON o.task_id = c.id
    UNION ALL
    SELECT s.id::text, CASE
        WHEN NOT (s.status = ANY(${open}::text[]) AND j.status IN ('queued', 'active')) THEN 'not-open'
        WHEN j.id IN (SELECT id FROM mute) THEN 'lacking' ELSE 'busy' END,
      NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM seen s JOIN jobs j ON j.id = s.job_id
    WHERE (s.id NOT IN (SELECT id FROM mine)) IS TRUE`;
  const found = new Map(rows.map((row) => [row.member, toResult(row)]));
  return new Map(ids.map((id) => [id, found.get(id) ?? { kind: 'not-open' }]));
}

function toResult({ outcome, member: _member, ...task }: Row): ClaimResult {
  return outcome === 'claimed' ? { kind: 'claimed', task } : { kind: outcome };
}
