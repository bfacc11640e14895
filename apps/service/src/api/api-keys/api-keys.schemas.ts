import { z } from 'zod';
import { isKeyName, KEY_NAME_RULE, SCOPES } from '@app/platform/auth/api-key.js';
import { isNetwork, NETWORK_RULE } from '@app/platform/auth/networks.js';
import { Instant, limit } from '../jobs/jobs.schemas.js';
import { strict } from '../jobs/strict.js';

const Name = z.string().refine(isKeyName, KEY_NAME_RULE).meta({ minLength: 1, maxLength: 200 });

/** The body of POST /api-keys. */
export const ApiKeyBody = strict({
  ownerId: Name.meta({ description: 'Whose jobs the key sees.' }),
  name: Name.meta({ description: 'What the key is for.' }),
  scopes: z
    .array(z.enum(SCOPES))
    .min(1)
    .max(SCOPES.length)
    .refine((scopes) => new Set(scopes).size === scopes.length, 'Name each scope once.')
    .meta({ description: 'What it allows.' }),
  allowedCidrs: z.array(z.string().max(50).refine(isNetwork, NETWORK_RULE)).max(50).optional().meta({
    description: 'From where it may be used, as addresses and networks; from everywhere unless given.',
  }),
  expiresAt: Instant.refine((text) => new Date(text).getTime() > Date.now(), 'This time has passed.')
    .optional()
    .meta({ description: 'When it ends; it holds until it is revoked unless given.' }),
});
export type ApiKeyBody = z.output<typeof ApiKeyBody>;

/** The query of GET /api-keys. */
export const ApiKeysQuery = strict(
  { limit, ownerId: Name.optional(), cursor: z.string().min(1).max(200).optional() },
  'There is no such parameter.',
);
export type ApiKeysQuery = z.output<typeof ApiKeysQuery>;

const Time = z.iso.datetime();

/** A key as it is shown. */
export const ApiKeyAnswer = z.object({
  keyId: z.string(),
  ownerId: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  allowedCidrs: z.array(z.string()),
  createdAt: Time,
  expiresAt: Time.nullable(),
  revokedAt: Time.nullable(),
});

/** A key as it is shown once, when it is made. */
export const NewApiKeyAnswer = z.object({
  ...ApiKeyAnswer.shape,
  key: z.string().meta({ description: 'The key itself. It is not kept, and never shown again.' }),
});

/** A page of keys. */
export const ApiKeysAnswer = z.object({ apiKeys: z.array(ApiKeyAnswer), nextCursor: z.string().nullable() });
