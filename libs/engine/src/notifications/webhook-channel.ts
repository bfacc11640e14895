import { Webhook as Signer } from 'standardwebhooks';
import type { Outbound } from '@app/platform/outbound/outbound.js';
import type { Database } from '@app/platform/prisma/database.js';
import type { DueDelivery } from '../store/deliveries.js';
import { webhookToCall } from '../store/webhooks.js';
import type { Channel, TryResult } from './channel.js';

const GONE = 410;

/** Tells by calling the webhooks of owners, signed as Standard Webhooks has it. */
export class WebhookChannel implements Channel {
  readonly kind = 'webhook';
  readonly atOnce = 16;
  readonly perRecipient = 2;
  readonly perOwner = 4;

  constructor(
    private readonly outbound: Outbound,
    private readonly database: Database,
  ) {}

  async send(
    { id, ownerId, recipient, event, data, createdAt }: DueDelivery,
    signal: AbortSignal,
  ): Promise<TryResult> {
    const hook = await webhookToCall(this.database.main, ownerId, recipient);
    if (!hook) return { status: 'failed', reason: 'the webhook was deleted' };
    if (hook.disabled) return { status: 'failed', reason: 'the webhook is disabled' };
    const timestamp = 'finishedAt' in data ? data.finishedAt : createdAt.toISOString();
    // The same bytes at each try; only the time of the signature is another.
    const body = JSON.stringify({ type: event, timestamp, data });
    const now = new Date();
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'longhaul-webhooks',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': hook.secrets.map((secret) => new Signer(secret).sign(id, now, body)).join(' '),
    };
    return judge(await this.outbound.post(hook.url, body, headers, signal));
  }

  close(): void {}
}

/** Only a 2xx is a success. An address that must not be called is not tried again: it is changed, and redelivered. */
function judge(result: Awaited<ReturnType<Outbound['post']>>): TryResult {
  if (result.kind === 'refused') {
    const passing = result.code === 'unresolved';
    return { status: passing ? 'again' : 'failed', reason: result.code };
  }
  if (result.kind === 'failed') return { status: 'again', reason: result.reason };
  const code = result.status;
  if (code >= 200 && code < 300) return { status: 'delivered', code };
  if (code === GONE) return { status: 'failed', code, reason: 'the webhook is gone', gone: true };
  const what = code >= 300 && code < 400 ? 'a redirect, which is not followed' : 'not a success';
  return { status: 'again', code, reason: `answered ${code}: ${what}` };
}
