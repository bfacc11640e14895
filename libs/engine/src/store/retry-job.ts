import { jobSourcesOf, type JobStatus } from '@app/core';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { type DedupeKey, dedupeRows, findHolders, takeDedupeKeys } from './dedupe-keys.js';
import { exitIsOpen } from './exit-hooks.js';
import { inTransaction } from './in-transaction.js';

/**
 * What became of a retry. `exiting`: it has ended, and its exit hook is still to run. `duplicate`: another open job
 * holds a key of this one.
 */
export type Retry =
  | { kind: 'retried'; status: JobStatus }
  | { kind: 'refused'; status: JobStatus }
  | { kind: 'exiting'; status: JobStatus }
  | { kind: 'duplicate'; jobId: string };

/** Rolls a retry back that does not get the keys of its job. */
class KeysHeldError extends Error {
  constructor(readonly keys: DedupeKey[]) {
    super('Another job holds a key.');
  }
}

/**
 * Opens a failed or canceled job again, in a new generation: tasks that did not complete begin anew with all their
 * attempts, held until they are admitted, completed ones keep their results, and a job whose tasks are all complete goes straight to
 * finalization. Undefined when the owner has no such job.
 */
export async function retryJob(
  client: PrismaClient,
  ownerId: string,
  jobId: string,
  options: { actor: string },
): Promise<Retry | undefined> {
  for (;;) {
    try {
      return await retryOnce(client, ownerId, jobId, options);
    } catch (error) {
      if (!(error instanceof KeysHeldError)) throw error;
      const [holder] = await findHolders(client, error.keys);
      // Else it has ended meanwhile, and the keys are free.
      if (holder) return { kind: 'duplicate', jobId: holder.job_id };
    }
  }
}

function retryOnce(
  client: PrismaClient,
  ownerId: string,
  jobId: string,
  options: { actor: string },
): Promise<Retry | undefined> {
  return inTransaction(client, async (sql) => {
    const [job] = await sql.$queryRaw<
      { status: JobStatus; generation: number; dedupe: DedupeKey[] | null }[]
    >`
      SELECT status, generation, dedupe FROM jobs WHERE id = ${jobId}::uuid AND owner_id = ${ownerId} FOR NO KEY UPDATE`;
    if (!job) return undefined;
    if (!jobSourcesOf('retry').includes(job.status)) return { kind: 'refused', status: job.status };
    if (await exitIsOpen(sql, jobId)) return { kind: 'exiting', status: job.status };
    if (job.dedupe) {
      const rows = dedupeRows([{ jobId, dedupe: job.dedupe }], job.generation + 1);
      const taken = await sql.$queryRaw<unknown[]>(takeDedupeKeys(rows));
      if (taken.length < rows.length) throw new KeysHeldError(job.dedupe);
    }
    const open = await sql.$executeRaw`
      WITH o AS MATERIALIZED (
        SELECT t.id, t.kind FROM task_inputs i JOIN tasks t ON t.id = i.task_id
        WHERE i.job_id = ${jobId}::uuid AND t.status <> 'completed'
        ORDER BY t.id FOR NO KEY UPDATE OF t
      ), t AS (
        UPDATE tasks t SET status = 'queued', generation = t.generation + 1, fence = t.fence + 1, attempt = 0, crashes = 0,
          suspect = false,          nonce = NULL, worker = NULL, started_at = NULL, finished_at = NULL
        FROM o WHERE t.id = o.id
      )
      INSERT INTO dispatch (id, kind, job_id, queue, look_again_at, gate, owner_id, type, rank)
      SELECT o.id, o.kind, j.id, j.queue, 'infinity', 'held', j.owner_id, j.type, j.rank
      FROM o, jobs j WHERE j.id = ${jobId}::uuid`;
    // Only finalization can have failed a job whose tasks are all complete.
    const status = open > 0 ? 'queued' : 'finalizing';
    await sql.$executeRaw`
      WITH s AS (
        SELECT count(*) FILTER (WHERE t.kind = 'task' AND t.status = 'completed')::int AS completed,
          COALESCE(sum(t.progress) FILTER (WHERE t.kind = 'task'), 0) AS progress_sum,
          COALESCE(bool_or(t.kind = 'plan' AND t.status <> 'completed'), false) AS planning
        FROM task_inputs i JOIN tasks t ON t.id = i.task_id WHERE i.job_id = ${jobId}::uuid
      ), j AS (
        UPDATE jobs j SET status = ${status}, generation = j.generation + 1, version = j.version + 1, planning = s.planning,
          outcome = NULL, finished_at = NULL,
          tasks_completed = s.completed, tasks_failed = 0, tasks_canceled = 0, progress_sum = s.progress_sum,
          progress = CASE WHEN s.planning OR j.tasks_total = 0 THEN 0
            ELSE LEAST(99, s.progress_sum / j.tasks_total) END,
          error = NULL, result = CASE WHEN ${status} = 'finalizing' THEN j.result END, run_at = NULL, expires_at = NULL, started_at = NULL
        FROM s WHERE j.id = ${jobId}::uuid
        RETURNING j.id, j.generation, j.version
      ), f AS (
        INSERT INTO dispatch (id, kind, job_id, queue, look_again_at)
        SELECT id, 'finalize', id, '', clock_timestamp() FROM j WHERE ${status} = 'finalizing'
      )
      INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
      SELECT id, generation, version, ${`job.${status}`}, ${options.actor}, 'retry' FROM j`;
    return { kind: 'retried', status };
  });
}
