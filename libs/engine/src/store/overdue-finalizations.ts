import type { Sql } from '@app/platform/prisma/database.js';

/** A job that is being finalized for longer than it should be. */
export interface OverdueFinalization {
  jobId: string;
  since: Date;
}

/**
 * Finds finalizations that go on for longer than a limit, each once in its generation, and notes it in the ledger. They
 * are tried as before: nobody but the Catalog, or an administrator, can tell what became of them.
 */
export async function noteOverdueFinalizations(
  sql: Sql,
  limitMs: number,
  most: number,
): Promise<OverdueFinalization[]> {
  return sql.$queryRaw<OverdueFinalization[]>`
    WITH open AS MATERIALIZED (
      SELECT j.id, d.since FROM dispatch d JOIN jobs j ON j.id = d.id
      WHERE d.kind = 'finalize' AND d.since < statement_timestamp() - make_interval(secs => ${limitMs / 1000}::float8)
        AND j.status = 'finalizing'
      ORDER BY j.id LIMIT ${most} FOR NO KEY UPDATE OF j SKIP LOCKED
    ), told AS (
      UPDATE dispatch d SET since = NULL FROM open WHERE d.id = open.id AND d.kind = 'finalize' AND d.since IS NOT NULL
      RETURNING d.id
    ), j AS (
      UPDATE jobs j SET version = j.version + 1 WHERE j.id IN (SELECT id FROM told) AND j.status = 'finalizing'
      RETURNING j.id, j.generation, j.version
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor)
      SELECT id, generation, version, 'job.finalize-overdue', 'syncer' FROM j
    )
    SELECT j.id::text AS "jobId", open.since FROM j JOIN open ON open.id = j.id`;
}
