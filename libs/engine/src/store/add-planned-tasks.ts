import type { Json } from '@app/core';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';

/** A task that a plan has yielded. The id is made before, so that a repeat after a lost reply adds nothing. */
export interface PlannedInput {
  taskId: string;
  key: string;
  payload: Json;
}

/**
 * Adds the tasks that a plan has yielded, and with them where the plan is. The job row is locked first, so that no
 * cancel runs between; a key that the job has already, or that came before in the batch, is left out. They are
 * held until they are admitted. Answers how many they are; undefined when the plan no longer holds its claim, or its job
 * has ended: nothing was written.
 */
export async function addPlannedTasks(
  client: PrismaClient,
  plan: { taskId: string; jobId: string; fence: number },
  inputs: PlannedInput[],
  options: { checkpoint?: Json; actor: string },
): Promise<number | undefined> {
  const rows = inputs.map(({ taskId, key, payload }) => ({ id: taskId, key, payload }));
  const checkpoint = options.checkpoint === undefined ? null : JSON.stringify(options.checkpoint);
  return inTransaction(client, async (sql) => {
    const held = await sql.$queryRaw<{ id: string }[]>`
      WITH j AS MATERIALIZED (
        SELECT id FROM jobs WHERE id = ${plan.jobId}::uuid AND status = 'active' FOR NO KEY UPDATE
      )
      SELECT t.id::text AS id FROM tasks t
      WHERE t.id = ${plan.taskId}::uuid AND t.job_id IN (SELECT id FROM j) AND t.fence = ${plan.fence} AND t.status = 'active'
      FOR SHARE OF t`;
    if (held.length === 0) return undefined;
    // A statement of its own: it sees what an earlier claim of the plan had committed before we got the lock.
    const [added] = await sql.$queryRaw<{ count: number }[]>`
      WITH m AS MATERIALIZED (
        SELECT i.id, i.key, i.payload, row_number() OVER (ORDER BY i.ordinality) - 1 AS nth
        FROM (
          SELECT DISTINCT ON (key) *
          FROM ROWS FROM (jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS (id uuid, key text, payload jsonb))
            WITH ORDINALITY AS r(id, key, payload, ordinality)
          ORDER BY key, ordinality
        ) i
        WHERE NOT EXISTS (SELECT FROM task_inputs k WHERE k.job_id = ${plan.jobId}::uuid AND k.key = i.key)
      ), n AS (
        UPDATE jobs SET tasks_total = tasks_total + (SELECT count(*)::int FROM m), version = version + 1
        WHERE id = ${plan.jobId}::uuid
        RETURNING id, queue, owner_id, type, rank, generation, version, tasks_total - (SELECT count(*)::int FROM m) AS first
      ), t AS (
        INSERT INTO tasks (id, job_id, position, generation)
        SELECT m.id, n.id, n.first + m.nth, n.generation FROM m, n
      ), i AS (
        INSERT INTO task_inputs (job_id, position, task_id, key, payload)
        SELECT n.id, n.first + m.nth, m.id, m.key, COALESCE(m.payload, 'null'::jsonb) FROM m, n
      ), d AS (
        INSERT INTO dispatch (id, kind, job_id, queue, look_again_at, gate, owner_id, type, rank)
        SELECT m.id, 'task', n.id, n.queue, 'infinity', 'held', n.owner_id, n.type, n.rank FROM m, n
      ), c AS (
        INSERT INTO task_outputs (task_id, checkpoint)
        SELECT ${plan.taskId}::uuid, ${checkpoint}::jsonb WHERE ${checkpoint}::jsonb IS NOT NULL
        ON CONFLICT (task_id) DO UPDATE SET checkpoint = EXCLUDED.checkpoint
      ), e AS (
        INSERT INTO job_events (job_id, generation, version, kind, actor, data)
        SELECT n.id, n.generation, n.version, 'tasks.planned', ${options.actor}, jsonb_build_object('count', (SELECT count(*) FROM m))
        FROM n WHERE EXISTS (SELECT FROM m)
      )
      SELECT count(*)::int AS count FROM m, n`;
    return added?.count ?? 0;
  });
}
