import type { JobNotice } from '@app/core';
import type { Config } from '@app/platform/config/config.js';
import { Mailer, MAILS_AT_ONCE } from '@app/platform/mail/mailer.js';
import type { Database } from '@app/platform/prisma/database.js';
import type { DueDelivery } from '../store/deliveries.js';
import { DIGEST, readDigest } from '../store/outbox.js';
import type { Channel, TryResult } from './channel.js';
import { digestOf, mailOf } from './mail-texts.js';

/** Tells by mail: one message for each recipient, so that what one of them is refused is no other's trouble. */
export class MailChannel implements Channel {
  readonly kind = 'mail';
  readonly atOnce = MAILS_AT_ONCE;
  // All go through one server: who is slow is it, and no recipient and no owner.
  readonly perRecipient = MAILS_AT_ONCE;
  readonly perOwner = MAILS_AT_ONCE;
  private readonly mailer: Mailer;

  constructor(
    private readonly config: Config,
    private readonly database: Database,
  ) {
    this.mailer = new Mailer(config);
  }

  async send(delivery: DueDelivery, signal: AbortSignal): Promise<TryResult> {
    const { id, event, ownerId, recipient, data } = delivery;
    const { PUBLIC_URL } = this.config;
    const texts =
      event === DIGEST
        ? digestOf(ownerId, await readDigest(this.database.main, delivery), PUBLIC_URL)
        : mailOf(ownerId, data as JobNotice, PUBLIC_URL);
    const sent = await this.mailer.send({ id, to: recipient, ...texts }, signal);
    const status = { sent: 'delivered', refused: 'failed', unsure: 'again' } as const;
    return { status: status[sent.kind], code: sent.code, reason: sent.reason };
  }

  close(): void {
    this.mailer.close();
  }
}
