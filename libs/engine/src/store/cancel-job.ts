import { cleanText, jobSourcesOf, type JobStatus } from '@app/core';
import { Prisma, type PrismaClient } from '@app/platform/prisma/database.js';
import { endOpenTasks } from './end-open-tasks.js';
import { openExits } from './exit-hooks.js';
import { inTransaction } from './in-transaction.js';
import { openNotices } from './outbox.js';

/** A job that was canceled, as the processes that run it are to be told. */
export interface CanceledJob {
  jobId: string;
  generation: number;
}

/** The statement that cancels jobs, as rows of {@link CanceledJob}; their tasks are left to {@link endOpenTasks}. */
export function cancelOf(locked: Prisma.Sql, actor: string, reason: string | null): Prisma.Sql {
  return Prisma.sql`
    WITH l AS MATERIALIZED (${locked}), j AS (
      UPDATE jobs j SET status = 'canceled', outcome = 'canceled', version = j.version + 1, finished_at = clock_timestamp()
      FROM l WHERE j.id = l.id
      RETURNING j.id, j.generation, j.version, j.exit_hook, j.status, j.error, j.finished_at, j.owner_id, j.type, j.labels,
        j.notify
    ), c AS (
      INSERT INTO cancellations (job_id, generation, actor, reason) SELECT id, generation, ${actor}, ${reason} FROM j
    ), x AS (${openExits(Prisma.sql`j`)}), o AS (${openNotices(Prisma.sql`j`)}), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
      SELECT id, generation, version, 'job.canceled', ${actor}, ${reason} FROM j
    )
    SELECT id::text AS "jobId", generation FROM j`;
}

/** `repeated`: it was canceled before. `refused`: it has ended otherwise, or is past the point of no return. */
export type Cancellation =
  ({ kind: 'canceled' } & CanceledJob) | { kind: 'repeated' } | { kind: 'refused'; status: JobStatus };

/**
 * Cancels a job of an owner: from the commit on it is `canceled`, none of its tasks starts, and nothing that a
 * running attempt still writes is accepted. Undefined when the owner has no such job.
 */
export async function cancelJob(
  client: PrismaClient,
  ownerId: string,
  jobId: string,
  by: { actor: string; reason?: string },
): Promise<Cancellation | undefined> {
  const reason = by.reason === undefined ? null : cleanText(by.reason);
  const answer = await inTransaction<Cancellation | 'again' | undefined>(client, async (sql) => {
    const locked = Prisma.sql`
      SELECT id FROM jobs
      WHERE id = ${jobId}::uuid AND owner_id = ${ownerId} AND status = ANY(${jobSourcesOf('cancel')}::text[])
      FOR NO KEY UPDATE`;
    const canceled = await sql.$queryRaw<CanceledJob[]>(cancelOf(locked, by.actor, reason));
    if (canceled[0]) {
      await endOpenTasks(sql, [jobId], by.actor);
      return { kind: 'canceled', ...canceled[0] };
    }
    const [job] = await sql.$queryRaw<{ status: JobStatus }[]>`
      SELECT status FROM jobs WHERE id = ${jobId}::uuid AND owner_id = ${ownerId}`;
    if (!job) return undefined;
    if (job.status === 'canceled') return { kind: 'repeated' };
    // Opened again by a retry between the two statements: the cancel is tried on what is there now.
    return jobSourcesOf('cancel').includes(job.status) ? 'again' : { kind: 'refused', status: job.status };
  });
  return answer === 'again' ? cancelJob(client, ownerId, jobId, by) : answer;
}
