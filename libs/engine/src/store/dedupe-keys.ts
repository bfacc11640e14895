import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { givenRows } from './given-rows.js';

/** A key that one open job holds at a time. The scope is an owner, or `type` for a type that runs one job at a time. */
export interface DedupeKey {
  scope: string;
  key: string;
}

interface DedupeRow extends DedupeKey {
  job_id: string;
  generation: number;
}

/** The keys of jobs in the one order in which keys are locked. Of several jobs with one key the first gets it. */
export function dedupeRows(jobs: { jobId: string; dedupe: DedupeKey[] }[], generation = 1): DedupeRow[] {
  const rows = jobs.flatMap(({ jobId, dedupe }) =>
    dedupe.map(({ scope, key }) => ({ scope, key, job_id: jobId, generation })),
  );
  const first = new Map(rows.toReversed().map((row) => [JSON.stringify([row.scope, row.key]), row]));
  return [...first.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

/**
 * Takes keys that nobody holds, or whose job has ended, and answers those that were got. What a statement sees of
 * other jobs is older than the rows that it waits for: a key counts as free only when its job, as it was when it took
 * the key, is seen to have ended.
 * @param where of the keys, looked at before the first of them is taken
 */
export const takeDedupeKeys = (rows: DedupeRow[], where = Prisma.sql`true`) => Prisma.sql`
  INSERT INTO dedupe_keys AS d (scope, key, job_id, generation)
  SELECT scope, key, job_id, generation
  FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(scope text, key text, job_id uuid, generation int)
  WHERE ${where}
  ON CONFLICT (scope, key) DO UPDATE SET job_id = EXCLUDED.job_id, generation = EXCLUDED.generation
  WHERE (SELECT j.finished_at FROM jobs j WHERE j.id = d.job_id AND j.generation = d.generation) IS NOT NULL
  RETURNING d.job_id`;

/**
 * The open jobs that hold keys. A key whose job was never written, or was deleted, is let go of, unless somebody has it
 * in hand: nobody waits here.
 */
export async function findHolders(
  sql: Pick<Sql, '$queryRaw'>,
  keys: DedupeKey[],
): Promise<(DedupeKey & { job_id: string })[]> {
  if (keys.length === 0) return [];
  return sql.$queryRaw`
    WITH m AS MATERIALIZED (
      SELECT d.scope, d.key, d.job_id FROM ${givenRows(keys, Prisma.sql`scope text, key text`)} r
      JOIN dedupe_keys d ON d.scope = r.scope AND d.key = r.key
    ), gone AS (
      DELETE FROM dedupe_keys d USING (
        SELECT d.scope, d.key, d.job_id FROM m JOIN dedupe_keys d ON d.scope = m.scope AND d.key = m.key AND d.job_id = m.job_id
        WHERE (SELECT jobs.id FROM jobs WHERE jobs.id = m.job_id) IS NULL
        ORDER BY d.scope, d.key FOR UPDATE OF d SKIP LOCKED
      ) g
      WHERE d.scope = g.scope AND d.key = g.key AND d.job_id = g.job_id
    )
    SELECT m.scope, m.key, j.id::text AS job_id
    FROM m CROSS JOIN LATERAL (SELECT id, finished_at FROM jobs WHERE jobs.id = m.job_id OFFSET 0) j
    WHERE j.finished_at IS NULL`;
}
