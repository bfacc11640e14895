import type { JobNotice, LateNotice } from '@app/core';
import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { DIGEST } from './outbox.js';

export const DELIVERY_KINDS = ['mail', 'webhook'] as const;
export type DeliveryKind = (typeof DELIVERY_KINDS)[number];

/** A turn at a delivery: what every write of it names. */
export interface DeliveryTurn {
  id: string;
  fence: number;
}

/** A notice for one recipient, taken for a while to be sent. */
export interface DueDelivery extends DeliveryTurn {
  kind: DeliveryKind;
  ownerId: string;
  jobId: string | null;
  /** An address, or the id of a webhook. */
  recipient: string;
  event: string;
  data: JobNotice | LateNotice;
  /** This try included. */
  attempts: number;
  createdAt: Date;
}

/** Keeps turns for so much longer. One that is over stays so. */
export async function renewDeliveries(sql: Sql, turns: DeliveryTurn[], leaseMs: number): Promise<void> {
  await sql.$executeRaw`
    UPDATE deliveries d SET look_again_at = clock_timestamp() + make_interval(secs => ${leaseMs / 1000}::float8)
    FROM unnest(${turns.map((turn) => turn.id)}::uuid[], ${turns.map((turn) => turn.fence)}::int[]) AS t(id, fence)
    WHERE d.id = t.id AND d.fence = t.fence AND d.status = 'waiting'`;
}

/** How a try went. `again`: it is tried once more, after a pause. */
export interface DeliveryEnd {
  status: 'delivered' | 'failed' | 'again';
  code?: number;
  reason?: string;
  pauseMs?: number;
  /** Of a webhook that says that it is gone for good. */
  gone?: boolean;
}

/** A webhook is given up when so many deliveries in a row have failed for good, over so many days at least. */
const GIVEN_UP = { failures: 10, days: 3 };

/**
 * Records how a try went, at once and for this recipient alone: who dies after it repeats nothing of it. Of a webhook it is
 * noted how it fares, and it is disabled when it is gone, or fails for days. The turn is over then, so that whoever keeps it
 * for longer does not touch the pause. False when it was over before.
 */
export async function recordDelivery(sql: Sql, turn: DeliveryTurn, end: DeliveryEnd): Promise<boolean> {
  const { status, code = null, reason = null, pauseMs = 0, gone = false } = end;
  const over = status !== 'again';
  const written = await sql.$queryRaw<unknown[]>`
    WITH d AS (
      UPDATE deliveries SET status = ${over ? status : 'waiting'}, fence = fence + 1, trying = false, code = ${code}::int, error = ${reason},
        look_again_at = CASE WHEN ${over} THEN NULL ELSE clock_timestamp() + make_interval(secs => ${pauseMs / 1000}::float8) END,
        ended_at = CASE WHEN ${over} THEN clock_timestamp() END
      WHERE id = ${turn.id}::uuid AND fence = ${turn.fence} AND status = 'waiting'
      RETURNING kind, recipient
    ), hook AS (
      SELECT w.id, w.failures, w.failing_since FROM webhooks w JOIN d ON w.id = CASE WHEN d.kind = 'webhook' THEN d.recipient::uuid END
      WHERE ${status} <> 'delivered' OR w.failures > 0 FOR NO KEY UPDATE OF w
    ), fine AS (
      UPDATE webhooks w SET failures = 0, failing_since = NULL FROM hook WHERE w.id = hook.id AND ${status} = 'delivered'
    ), broken AS (
      UPDATE webhooks w SET failures = w.failures + 1, failing_since = COALESCE(w.failing_since, clock_timestamp()),
        disabled_reason = CASE WHEN w.disabled_at IS NOT NULL THEN w.disabled_reason WHEN ${gone} THEN 'gone'
          WHEN w.failures + 1 >= ${GIVEN_UP.failures} AND w.failing_since < clock_timestamp() - make_interval(days => ${GIVEN_UP.days})
          THEN 'failing' END,
        disabled_at = CASE WHEN w.disabled_at IS NOT NULL THEN w.disabled_at WHEN ${gone}
          OR (w.failures + 1 >= ${GIVEN_UP.failures} AND w.failing_since < clock_timestamp() - make_interval(days => ${GIVEN_UP.days}))
          THEN clock_timestamp() END
      FROM hook WHERE w.id = hook.id AND ${status} = 'failed'
    )
    SELECT 1 FROM d`;
  return written.length === 1;
}

/** What is to be done, by kind: ends that nobody has looked at, and milliseconds until the next delivery of each kind. */
export async function noticesToDo(sql: Sql): Promise<{ ends: boolean; untilNextMs: number | null }> {
  const [row] = await sql.$queryRaw<{ ends: boolean; untilNextMs: number | null }[]>`
    SELECT EXISTS (SELECT FROM outbox) AS ends, (
      SELECT (extract(epoch FROM min(first) - clock_timestamp()) * 1000)::float8 FROM unnest(${[...DELIVERY_KINDS]}::text[]) AS k(kind),
        LATERAL (SELECT look_again_at AS first FROM deliveries d WHERE d.status = 'waiting' AND d.kind = k.kind
          ORDER BY look_again_at LIMIT 1) f
    ) AS "untilNextMs"`;
  return row ?? { ends: false, untilNextMs: null };
}

/** How many notices wait, by kind, and for how long the oldest does. A digest waits for its time: it is not late before. */
export async function waitingNotices(
  sql: Sql,
): Promise<{ kind: DeliveryKind | 'outbox'; count: number; oldestSeconds: number }[]> {
  return sql.$queryRaw`
    SELECT kind, count(*)::int AS count, extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS "oldestSeconds"
    FROM deliveries WHERE status = 'waiting' AND (event <> ${DIGEST} OR look_again_at <= clock_timestamp()) GROUP BY kind
    UNION ALL
    SELECT 'outbox', count(*)::int, extract(epoch FROM clock_timestamp() - min(ended_at))::float8 FROM outbox HAVING count(*) > 0`;
}

/** How much longer what still waits is kept than what is over. */
const WAITING_DAYS = 7;

/** Forgets deliveries that were over so long ago, a bounded number. Answers how many. */
export async function deleteOldDeliveries(sql: Sql, keepMs: number, limit: number): Promise<number> {
  await sql.$executeRaw`
    DELETE FROM mail_windows WHERE began_at < statement_timestamp() - make_interval(days => 2)`;
  const before = Prisma.sql`statement_timestamp() - make_interval(secs => ${keepMs / 1000}::float8)`;
  // Nobody has tried these for as long as that: there is no SMTP server any more.
  await sql.$executeRaw`
    DELETE FROM deliveries WHERE id IN (
      SELECT id FROM deliveries WHERE status = 'waiting' AND kind = ANY(${[...DELIVERY_KINDS]}::text[]) AND look_again_at < ${before} - make_interval(days => ${WAITING_DAYS})
      LIMIT ${limit} FOR UPDATE SKIP LOCKED)`;
  // What a digest is to tell of is kept until it has.
  return sql.$executeRaw`
    DELETE FROM deliveries WHERE id IN (
      SELECT id FROM deliveries d WHERE ended_at < ${before} AND NOT EXISTS (
        SELECT FROM deliveries g WHERE g.id = d.digest_id AND g.status = 'waiting')
      ORDER BY ended_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)`;
}
