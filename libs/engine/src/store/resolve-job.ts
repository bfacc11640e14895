import { cleanText, type JobFailure, type JobStatus } from '@app/core';
import { Prisma, type PrismaClient } from '@app/platform/prisma/database.js';
import { openExits } from './exit-hooks.js';
import { inTransaction } from './in-transaction.js';
import { openNotices } from './outbox.js';

/** How an administrator ends a job that the Catalog never answers, and why. */
export interface Resolution {
  status: 'completed' | 'failed';
  reason: string;
}

/** What became of it. `refused`: the job is not being finalized. */
export type Resolved = { kind: 'resolved'; ownerId: string } | { kind: 'refused'; status: JobStatus };

/**
 * Ends a job of any owner that is being finalized. The turn that is under way writes nothing from the commit on; what
 * it has asked of the Catalog is not taken back. Undefined when there is no such job.
 */
export async function resolveJob(
  client: PrismaClient,
  jobId: string,
  { status, reason: given }: Resolution,
  actor: string,
): Promise<Resolved | undefined> {
  const reason = cleanText(given);
  const error: JobFailure = { code: 'catalog_rejected', message: `Ended by an administrator: ${reason}` };
  return inTransaction(client, async (sql) => {
    const [ended] = await sql.$queryRaw<{ ownerId: string }[]>`
      WITH j AS (
        UPDATE jobs SET status = ${status}, outcome = ${status}, version = version + 1, finished_at = clock_timestamp(),
          progress = CASE WHEN ${status} = 'completed' THEN 100 ELSE progress END,
          error = ${status === 'failed' ? JSON.stringify(error) : null}::jsonb
        WHERE id = ${jobId}::uuid AND status = 'finalizing'
        RETURNING id, generation, version, exit_hook, status, error, finished_at, owner_id, type, labels, notify
      ), gone AS (
        DELETE FROM dispatch WHERE kind = 'finalize' AND id = ANY(ARRAY(SELECT id FROM j))
      ), x AS (${openExits(Prisma.sql`j`)}), o AS (${openNotices(Prisma.sql`j`)}), e AS (
        INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
        SELECT id, generation, version, ${`job.${status}`}, ${actor}, ${reason} FROM j
      )
      SELECT owner_id AS "ownerId" FROM j`;
    if (ended) return { kind: 'resolved', ...ended };
    const [job] = await sql.$queryRaw<{ status: JobStatus }[]>`
      SELECT status FROM jobs WHERE id = ${jobId}::uuid AND owner_id <> ''`;
    return job && { kind: 'refused', status: job.status };
  });
}
