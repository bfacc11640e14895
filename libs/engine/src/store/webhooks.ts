import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { Prisma } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';
import { newId } from './new-id.js';

export const WEBHOOK_EVENTS = ['job.completed', 'job.failed', 'job.canceled', 'job.late'] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** What an owner says of a webhook. */
export interface WebhookInput {
  url: string;
  description: string | null;
  events: WebhookEvent[];
  /** Job types; none: all. */
  types: string[];
}

/** A webhook as its owner sees it. Its secret is shown only when it is made. */
export interface Webhook extends WebhookInput {
  webhookId: string;
  /** Deliveries that have failed for good since the last one that arrived, and since when. */
  failures: number;
  failingSince: Date | null;
  disabledAt: Date | null;
  /** `gone`: it has answered 410. `failing`: for days no delivery arrived. `owner`: it was asked for. */
  disabledReason: 'gone' | 'failing' | 'owner' | null;
  /** Until when the secret before the present one signs as well. */
  oldSecretUntil: Date | null;
  createdAt: Date;
}

const COLUMNS = Prisma.sql`id::text AS "webhookId", url, description, events, types, failures, failing_since AS "failingSince",
  disabled_at AS "disabledAt", disabled_reason AS "disabledReason",
  CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS "oldSecretUntil", created_at AS "createdAt"`;

/** Adds a webhook, unless the owner has `most` already: undefined then. */
export async function addWebhook(
  client: PrismaClient,
  ownerId: string,
  { url, description, events, types }: WebhookInput,
  secret: string,
  most: number,
): Promise<Webhook | undefined> {
  return inTransaction(client, async (sql) => {
    await sql.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`webhooks ${ownerId}`}, 0))`;
    const [added] = await sql.$queryRaw<Webhook[]>`
      INSERT INTO webhooks (id, owner_id, url, description, events, types, secret)
      SELECT ${newId()}::uuid, ${ownerId}, ${url}, ${description}, ${events}::text[], ${types}::text[], ${secret}
      WHERE (SELECT count(*) FROM webhooks WHERE owner_id = ${ownerId}) < ${most}
      RETURNING ${COLUMNS}`;
    return added;
  });
}

/** The webhooks of an owner, oldest first. There are few. */
export function listWebhooks(sql: Sql, ownerId: string): Promise<Webhook[]> {
  return sql.$queryRaw`SELECT ${COLUMNS} FROM webhooks WHERE owner_id = ${ownerId} ORDER BY created_at, id`;
}

/** One webhook; undefined when the owner has none of that id. */
export async function findWebhook(
  sql: Sql,
  ownerId: string,
  webhookId: string,
): Promise<Webhook | undefined> {
  const [found] = await sql.$queryRaw<Webhook[]>`
    SELECT ${COLUMNS} FROM webhooks WHERE id = ${webhookId}::uuid AND owner_id = ${ownerId}`;
  return found;
}

/** Changes what is given. One that is enabled begins anew. */
export async function changeWebhook(
  sql: Sql,
  ownerId: string,
  webhookId: string,
  change: Partial<WebhookInput> & { enabled?: boolean },
): Promise<Webhook | undefined> {
  const { url = null, description, events = null, types = null, enabled = null } = change;
  const [changed] = await sql.$queryRaw<Webhook[]>`
    UPDATE webhooks SET url = COALESCE(${url}, url), events = COALESCE(${events}::text[], events),
      types = COALESCE(${types}::text[], types),
      description = CASE WHEN ${description === undefined} THEN description ELSE ${description ?? null} END,
      failures = CASE WHEN ${enabled}::boolean THEN 0 ELSE failures END,
      failing_since = CASE WHEN ${enabled}::boolean THEN NULL ELSE failing_since END,
      disabled_at = CASE ${enabled}::boolean WHEN true THEN NULL WHEN false THEN COALESCE(disabled_at, clock_timestamp()) ELSE disabled_at END,
      disabled_reason = CASE ${enabled}::boolean WHEN true THEN NULL WHEN false THEN COALESCE(disabled_reason, 'owner') ELSE disabled_reason END
    WHERE id = ${webhookId}::uuid AND owner_id = ${ownerId} RETURNING ${COLUMNS}`;
  return changed;
}

/** Gives a webhook another secret; the one before signs as well for so long. */
export async function rotateSecret(
  sql: Sql,
  ownerId: string,
  webhookId: string,
  secret: string,
  keepMs: number,
): Promise<Webhook | undefined> {
  const [rotated] = await sql.$queryRaw<Webhook[]>`
    UPDATE webhooks SET secret = ${secret}, old_secret = secret,
      old_secret_until = clock_timestamp() + make_interval(secs => ${keepMs / 1000}::float8)
    WHERE id = ${webhookId}::uuid AND owner_id = ${ownerId} RETURNING ${COLUMNS}`;
  return rotated;
}

/** Deletes a webhook. What still waits for it is given up when its turn comes. */
export async function deleteWebhook(sql: Sql, ownerId: string, webhookId: string): Promise<boolean> {
  const deleted = await sql.$executeRaw`
    DELETE FROM webhooks WHERE id = ${webhookId}::uuid AND owner_id = ${ownerId}`;
  return deleted === 1;
}

/** What a call of a webhook needs to know. */
export interface CalledWebhook {
  url: string;
  disabled: boolean;
  /** The present one first, then the one before as long as it holds. */
  secrets: string[];
}

/** How a webhook is called, for whoever delivers; undefined when it was deleted. */
export async function webhookToCall(
  sql: Sql,
  ownerId: string,
  webhookId: string,
): Promise<CalledWebhook | undefined> {
  const [found] = await sql.$queryRaw<CalledWebhook[]>`
    SELECT url, disabled_at IS NOT NULL AS disabled,
      CASE WHEN old_secret_until > clock_timestamp() THEN ARRAY[secret, old_secret] ELSE ARRAY[secret] END AS secrets
    FROM webhooks WHERE id = ${webhookId}::uuid AND owner_id = ${ownerId}`;
  return found;
}
