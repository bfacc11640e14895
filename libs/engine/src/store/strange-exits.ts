import type { Sql } from '@app/platform/prisma/database.js';
import type { ExitType } from './exit-hooks.js';

/** What becomes of exits whose job type, or its version, a process does not have. Times are in milliseconds. */
export interface StrangePolicy {
  /** One that is due for so long, and was not taken, is passed by: those that have the code have had their time. */
  dueMs: number;
  /** For how long it is passed by at first; twice as long each time, up to an hour. */
  pauseMs: number;
  /** How often it is passed by before it can be ended. */
  passes: number;
  /** Since the end of its job; after that nobody is waited for. */
  limitMs: number;
  most: number;
}

/** A pause never has more than so many milliseconds. */
const LONGEST_MS = 3_600_000;
/** Doublings after which a pause is as long as it gets, whatever it was at first. */
const DOUBLINGS = 12;

/** As the ledger tells it. */
const NOBODY = 'No worker had the job type, or its version.';

/**
 * Passes by what this process has no code for, so that a look for exits does not read through it each time, and ends
 * what nobody has had code for in all that time: a retry and retention would wait for it for ever. An exit that somebody
 * takes is counted anew. Answers the jobs of those that were ended.
 */
export async function passByStrangeExits(
  sql: Sql,
  types: Pick<ExitType, 'name' | 'version'>[],
  { dueMs, pauseMs, passes, limitMs, most }: StrangePolicy,
): Promise<string[]> {
  const names = types.map((type) => type.name);
  const versions = types.map((type) => type.version);
  const ended = await sql.$queryRaw<{ id: string }[]>`
    WITH strange AS MATERIALIZED (
      SELECT d.id, d.failures >= ${passes}
        AND d.since < statement_timestamp() - make_interval(secs => ${limitMs / 1000}::float8) AS over
      FROM dispatch d JOIN jobs j ON j.id = d.id
      WHERE d.kind = 'exit' AND d.look_again_at <= statement_timestamp() - make_interval(secs => ${dueMs / 1000}::float8)
        AND NOT EXISTS (
          SELECT FROM unnest(${names}::text[], ${versions}::int[]) AS k(name, version)
          WHERE k.name = j.type AND k.version >= j.payload_version
        )
      ORDER BY d.look_again_at LIMIT ${most} FOR UPDATE OF d SKIP LOCKED
    ), passed AS (
      UPDATE dispatch d SET failures = d.failures + 1, look_again_at = clock_timestamp() + make_interval(
        secs => LEAST(${LONGEST_MS}::float8, ${pauseMs}::float8 * 2 ^ LEAST(d.failures, ${DOUBLINGS})) / 1000)
      FROM strange s WHERE d.id = s.id AND d.kind = 'exit' AND NOT s.over
    ), gone AS (
      DELETE FROM dispatch d USING strange s JOIN jobs j ON j.id = s.id
      WHERE d.id = s.id AND d.kind = 'exit' AND s.over
      RETURNING j.id, j.generation, j.version
    ), e AS (
      INSERT INTO job_events (job_id, generation, version, kind, actor, reason)
      SELECT id, generation, version, 'job.exited', 'syncer', ${NOBODY} FROM gone
    )
    SELECT id::text AS id FROM gone`;
  return ended.map(({ id }) => id);
}
