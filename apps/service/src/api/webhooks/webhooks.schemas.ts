import { z } from 'zod';
import { WEBHOOK_EVENTS } from '@app/engine/store/webhooks.js';
import { strict } from '../jobs/strict.js';

const MOST_TYPES = 50;

const Url = z
  .string()
  .min(1)
  .max(2000)
  .meta({ description: 'Where it is called, over https. It is checked now, and again at each call.' });
const Events = z
  .array(z.enum(WEBHOOK_EVENTS))
  .min(1)
  .max(WEBHOOK_EVENTS.length)
  .refine((events) => new Set(events).size === events.length, 'Name each event once.')
  .meta({ description: 'Of which ends it is told.' });
const Types = z
  .array(z.string().min(1).max(100))
  .max(MOST_TYPES)
  .meta({ description: 'Of which job types; none: of all.' });
const Description = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'No control characters.')
  .meta({ description: 'What it is for.' });

/** The body of POST /webhooks. */
export const WebhookBody = strict({
  url: Url,
  events: Events.default([...WEBHOOK_EVENTS]),
  types: Types.default([]),
  description: Description.nullable().default(null),
});
export type WebhookBody = z.output<typeof WebhookBody>;

/** The body of PATCH /webhooks/:webhookId: what is to be changed. */
export const WebhookChange = strict({
  url: Url.optional(),
  events: Events.optional(),
  types: Types.optional(),
  description: Description.nullable().optional(),
  enabled: z
    .boolean()
    .optional()
    .meta({ description: 'false: it is called no more. true: it is called again, also after failures.' }),
});
export type WebhookChange = z.output<typeof WebhookChange>;

const Time = z.iso.datetime();

/** A webhook as it is shown. */
export const WebhookAnswer = z
  .object({
    webhookId: z.uuid(),
    url: z.string(),
    description: z.string().nullable(),
    events: z.array(z.enum(WEBHOOK_EVENTS)),
    types: z.array(z.string()),
    failures: z.int(),
    failingSince: Time.nullable(),
    disabledAt: Time.nullable(),
    disabledReason: z.enum(['gone', 'failing', 'owner']).nullable(),
    oldSecretUntil: Time.nullable(),
    createdAt: Time,
  })
  .meta({ id: 'Webhook' });

/** A webhook with its secret, as it is shown once. */
export const NewWebhookAnswer = z.object({
  ...WebhookAnswer.shape,
  secret: z.string().meta({ description: 'What its calls are signed with. It is never shown again.' }),
});

/** The webhooks of an owner. */
export const WebhooksAnswer = z.object({ webhooks: z.array(WebhookAnswer) });

/** A delivery as it is shown. */
export const DeliveryAnswer = z
  .object({
    deliveryId: z.uuid().meta({ description: 'The webhook-id of every try.' }),
    event: z.string(),
    jobId: z.uuid().nullable(),
    generation: z.int().nullable(),
    status: z.enum(['waiting', 'delivered', 'failed']),
    attempts: z.int(),
    answerCode: z.int().nullable(),
    error: z.string().nullable(),
    triedAt: Time.nullable(),
    nextTryAt: Time.nullable(),
    createdAt: Time,
    endedAt: Time.nullable(),
  })
  .meta({ id: 'WebhookDelivery' });

/** A page of deliveries. */
export const DeliveriesAnswer = z.object({
  deliveries: z.array(DeliveryAnswer),
  nextCursor: z.string().nullable(),
});
