import { cleanText, jobSourcesOf, type JobStatus } from '@app/core';
import { Prisma, type PrismaClient } from '@app/platform/prisma/database.js';
import { endOpenTasks } from './end-open-tasks.js';
import { openExits } from './exit-hooks.js';
import { inTransaction } from './in-transaction.js';
import { openNotices } from './outbox.js';

/** `repeated`: it was canceled before. `refused`: it has ended otherwise, or is past the point of no return. */
export type Cancellation =
  { kind: 'canceled'; generation: number } | { kind: 'repeated' } | { kind: 'refused'; status: JobStatus };

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
    const canceled = await sql.$queryRaw<{ generation: number }[]>`
      WITH j AS (
        UPDATE jobs SET status = 'canceled', outcome = 'canceled', version = version + 1, finished_at = clock_timestamp()
        WHERE id = ${jobId}::uuid AND owner_id = ${ownerId} AND status = ANY(${jobSourcesOf('cancel')}::text[])
        RETURNING id, generation, version, exit_hook, status, error, finished_at, owner_id, type, labels, notify
      ), c AS (
        INSERT INTO cancellations (job_id, generation, actor, reason)
        SELECT id, generation, ${by.actor}, ${reason} FROM j
      ), x AS (${openExits(Prisma.sql`j`)}), o AS (${openNotices(Prisma.sql`j`)}), e AS (
        INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
        SELECT id, generation, version, 'job.canceled', ${by.actor}, ${reason} FROM j
      )
      SELECT generation FROM j`;
    if (canceled[0]) {
      await endOpenTasks(sql, [jobId], by.actor);
      return { kind: 'canceled', generation: canceled[0].generation };
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
