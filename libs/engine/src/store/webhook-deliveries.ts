import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import { newId } from './new-id.js';

/** A delivery of a webhook, as its owner sees it. */
export interface WebhookDelivery {
  /** The `webhook-id` of every try. */
  deliveryId: string;
  event: string;
  jobId: string | null;
  generation: number | null;
  status: 'waiting' | 'delivered' | 'failed';
  attempts: number;
  /** The status that the last try was answered with, and why it did not succeed. */
  answerCode: number | null;
  error: string | null;
  triedAt: Date | null;
  /** When it is tried next; null when it is over. */
  nextTryAt: Date | null;
  createdAt: Date;
  endedAt: Date | null;
}

/** Where a page of deliveries begins. */
export interface DeliveryCursor {
  createdAt: Date;
  deliveryId: string;
}

const COLUMNS = Prisma.sql`id::text AS "deliveryId", event, job_id::text AS "jobId", generation, status, attempts,
  code AS "answerCode", error, tried_at AS "triedAt", look_again_at AS "nextTryAt", created_at AS "createdAt", ended_at AS "endedAt"`;

const of = (ownerId: string, webhookId: string) =>
  Prisma.sql`kind = 'webhook' AND recipient = ${webhookId} AND owner_id = ${ownerId}`;

/** The deliveries of a webhook of an owner, newest first. */
export function listDeliveries(
  sql: Sql,
  ownerId: string,
  webhookId: string,
  limit: number,
  after?: DeliveryCursor,
): Promise<WebhookDelivery[]> {
  const later = after
    ? Prisma.sql`AND (created_at, id) < (${after.createdAt}::timestamptz, ${after.deliveryId}::uuid)`
    : Prisma.empty;
  return sql.$queryRaw`
    SELECT ${COLUMNS} FROM deliveries WHERE ${of(ownerId, webhookId)} ${later}
    ORDER BY created_at DESC, id DESC LIMIT ${limit}`;
}

/**
 * Has a delivery tried anew, under its old id: one that is over, or waits for a try, or whose try nobody has ended in its
 * time. One that is being tried is left as it is, or it would be called twice at once. Undefined when the owner's webhook has none of that id.
 */
export async function redeliver(
  sql: Sql,
  ownerId: string,
  webhookId: string,
  deliveryId: string,
): Promise<WebhookDelivery | undefined> {
  const one = Prisma.sql`id = ${deliveryId}::uuid AND ${of(ownerId, webhookId)}`;
  const [again] = await sql.$queryRaw<WebhookDelivery[]>`
    UPDATE deliveries SET status = 'waiting', attempts = 0, fence = fence + 1, trying = false, look_again_at = clock_timestamp(), ended_at = NULL
    WHERE ${one} AND (NOT trying OR look_again_at <= clock_timestamp())
    RETURNING ${COLUMNS}`;
  if (again) return again;
  const [found] = await sql.$queryRaw<WebhookDelivery[]>`SELECT ${COLUMNS} FROM deliveries WHERE ${one}`;
  return found;
}

/** The event of a call that tells of no job. It is tried once. */
export const TRIAL = 'webhook.test';

/** Adds a call that tells of no job, for a trial. Undefined when the owner has no such webhook. */
export async function addTrial(
  sql: Sql,
  ownerId: string,
  webhookId: string,
): Promise<WebhookDelivery | undefined> {
  const [added] = await sql.$queryRaw<WebhookDelivery[]>`
    INSERT INTO deliveries (id, kind, owner_id, recipient, event, data)
    SELECT ${newId()}::uuid, 'webhook', owner_id, id::text, ${TRIAL}, jsonb_build_object('webhookId', id)
    FROM webhooks WHERE id = ${webhookId}::uuid AND owner_id = ${ownerId}
    RETURNING ${COLUMNS}`;
  return added;
}
