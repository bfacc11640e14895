import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';

/** How long a key is kept after the submit that it came with, in milliseconds. */
export const KEY_LIFE_MS = 24 * 3_600_000;

type Reader = Pick<Sql, '$queryRaw'>;

/** Whose key, and of which body. */
interface KeyOfOwner {
  ownerId: string;
  idempotency: { key: string; bodyHash: string } | null;
}

/** The idempotency key was used before: by the same body (the earlier job, and when it was accepted), or by another one. */
export type KeyUse = { kind: 'replayed'; jobId: string; createdAt: Date } | { kind: 'mismatch' };

export interface KeyRow {
  owner_id: string;
  key: string;
  body_hash: string;
  job_id: string;
  created_at: Date;
}

const EXPIRED = Prisma.sql`k.created_at < statement_timestamp() - make_interval(secs => ${KEY_LIFE_MS / 1000}::float8)`;

/** The keys of jobs, as those have them who had them first. What has expired is as good as gone. */
export async function findKeys(sql: Reader, jobs: KeyOfOwner[]): Promise<KeyRow[]> {
  return sql.$queryRaw<KeyRow[]>`
    SELECT k.owner_id, k.key, k.body_hash, k.job_id, k.created_at FROM ${asked(jobs)} WHERE NOT ${EXPIRED}`;
}

/** Deletes keys of jobs that have expired, unless somebody has them in hand: nobody waits here. */
export async function freeExpiredKeys(sql: Reader, jobs: KeyOfOwner[]): Promise<void> {
  await sql.$queryRaw`
    DELETE FROM idempotency_keys k USING (
      SELECT k.owner_id, k.key FROM ${asked(jobs)} WHERE ${EXPIRED}
      ORDER BY k.owner_id, k.key FOR UPDATE OF k SKIP LOCKED
    ) m
    WHERE k.owner_id = m.owner_id AND k.key = m.key`;
}

/** How an idempotency key was used before; undefined when it was not, or that was too long ago. */
export async function lookUpKey(
  sql: Reader,
  ownerId: string,
  idempotency: { key: string; bodyHash: string },
): Promise<KeyUse | undefined> {
  const [known] = await findKeys(sql, [{ ownerId, idempotency }]);
  return known && useOf(known, idempotency.bodyHash);
}

/** What a key that is known says to a submit of a body. */
export function useOf(known: KeyRow, bodyHash: string | undefined): KeyUse {
  const { job_id: jobId, created_at: createdAt } = known;
  return known.body_hash === bodyHash ? { kind: 'replayed', jobId, createdAt } : { kind: 'mismatch' };
}

/** Forgets keys that have expired, the oldest first; answers how many. */
export async function deleteOldKeys(client: PrismaClient, limit: number): Promise<number> {
  return inTransaction(
    client,
    (sql) => sql.$executeRaw`
      DELETE FROM idempotency_keys WHERE (owner_id, key) IN (
        SELECT k.owner_id, k.key FROM idempotency_keys k WHERE ${EXPIRED}
        ORDER BY k.created_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
  );
}

function asked(jobs: KeyOfOwner[]): Prisma.Sql {
  const owners = jobs.map((job) => job.ownerId);
  const keys = jobs.map((job) => job.idempotency?.key ?? '');
  return Prisma.sql`unnest(${owners}::text[], ${keys}::text[]) AS m(owner_id, key)
    JOIN idempotency_keys k ON k.owner_id = m.owner_id AND k.key = m.key`;
}
