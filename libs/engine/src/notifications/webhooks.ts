import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { QuotaExceededError } from '@app/core';
import { Outbound } from '@app/platform/outbound/outbound.js';
import { Database } from '@app/platform/prisma/database.js';
import {
  addTrial,
  type DeliveryCursor,
  listDeliveries,
  redeliver,
  type WebhookDelivery,
} from '../store/webhook-deliveries.js';
import {
  addWebhook,
  changeWebhook,
  deleteWebhook,
  findWebhook,
  listWebhooks,
  rotateSecret,
  type Webhook,
  type WebhookInput,
} from '../store/webhooks.js';

/** Webhooks of one owner. */
const MOST_WEBHOOKS = 20;
/** How long a secret still signs after it was replaced. */
const ROTATION_MS = 24 * 3_600_000;
const SECRET_BYTES = 32;

/** The webhooks of owners: whom to call when their jobs end. */
@Injectable()
export class Webhooks {
  constructor(
    private readonly database: Database,
    private readonly outbound: Outbound,
  ) {}

  /**
   * Adds a webhook, and answers it with its secret, which is told this once.
   * @throws {OutboundRefusedError} when its address is not to be called; {QuotaExceededError} when the owner has as many as
   * one may have
   */
  async add(ownerId: string, input: WebhookInput): Promise<Webhook & { secret: string }> {
    await this.outbound.check(input.url);
    const secret = newSecret();
    const added = await addWebhook(this.database.main, ownerId, input, secret, MOST_WEBHOOKS);
    if (!added) throw new QuotaExceededError('webhooks', MOST_WEBHOOKS);
    return { ...added, secret };
  }

  list(ownerId: string): Promise<Webhook[]> {
    return listWebhooks(this.database.main, ownerId);
  }

  /** One webhook, or undefined when the owner has none of that id. */
  find(ownerId: string, webhookId: string): Promise<Webhook | undefined> {
    return findWebhook(this.database.main, ownerId, webhookId);
  }

  /**
   * Changes what is given; undefined when the owner has no such webhook.
   * @throws {OutboundRefusedError} when its address is not to be called.
   */
  async change(
    ownerId: string,
    webhookId: string,
    change: Partial<WebhookInput> & { enabled?: boolean },
  ): Promise<Webhook | undefined> {
    if (change.url !== undefined && (await this.find(ownerId, webhookId)))
      await this.outbound.check(change.url);
    return changeWebhook(this.database.main, ownerId, webhookId, change);
  }

  /** Deletes a webhook; false when the owner has no such one. */
  remove(ownerId: string, webhookId: string): Promise<boolean> {
    return deleteWebhook(this.database.main, ownerId, webhookId);
  }

  /** Gives it another secret, which is told this once; for a day the one before signs as well. */
  async rotate(ownerId: string, webhookId: string): Promise<(Webhook & { secret: string }) | undefined> {
    const secret = newSecret();
    const rotated = await rotateSecret(this.database.main, ownerId, webhookId, secret, ROTATION_MS);
    return rotated && { ...rotated, secret };
  }

  /** What it was told of, newest first; undefined when the owner has no such webhook. */
  async deliveries(
    ownerId: string,
    webhookId: string,
    page: { limit: number; after?: DeliveryCursor },
  ): Promise<WebhookDelivery[] | undefined> {
    const { main } = this.database;
    if (!(await findWebhook(main, ownerId, webhookId))) return undefined;
    return listDeliveries(main, ownerId, webhookId, page.limit, page.after);
  }

  /** Has a delivery tried anew, under its old id; undefined when there is no such one. */
  async redeliver(
    ownerId: string,
    webhookId: string,
    deliveryId: string,
  ): Promise<WebhookDelivery | undefined> {
    const { main } = this.database;
    if (!(await findWebhook(main, ownerId, webhookId))) return undefined;
    return redeliver(main, ownerId, webhookId, deliveryId);
  }

  /** Calls it with an event that tells of no job; undefined when the owner has no such webhook. */
  test(ownerId: string, webhookId: string): Promise<WebhookDelivery | undefined> {
    return addTrial(this.database.main, ownerId, webhookId);
  }
}

/** As Standard Webhooks has them. */
function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}
