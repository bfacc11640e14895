import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** What a credential may be allowed to do. */
export const SCOPES = ['jobs:read', 'jobs:write', 'schedules:write', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PATTERN = /^lh_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})_([0-9a-f]{8})$/;

/** The parts of an API key: `id` is public and finds the row, only the hash of `secret` is stored. */
export interface ApiKeyParts {
  id: string;
  secret: string;
}

/** What owners and keys may be called, for whoever makes a key. */
export const KEY_NAME_RULE = 'It has 1 to 200 characters, and no space at its ends.';

/** Whether an owner or a key may be called so: no control characters, which could forge a line of a log. */
export function isKeyName(text: string): boolean {
  return /^[^\p{C}]{1,200}$/u.test(text) && text.trim() === text;
}

/** Makes a new key: `lh_<id>_<256-bit secret>_<checksum>`. It is shown once and never stored. */
export function createApiKey(): ApiKeyParts & { text: string } {
  const parts = { id: randomText(8), secret: randomText(43) };
  return { ...parts, text: `lh_${parts.id}_${parts.secret}_${checksum(parts)}` };
}

/** Takes a key apart, or undefined when it cannot be one. A typing error is found without a query. */
export function parseApiKey(text: string): ApiKeyParts | undefined {
  const [, id, secret, sum] = PATTERN.exec(text) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  return checksum({ id, secret }) === sum ? { id, secret } : undefined;
}

/** What is stored of a secret. 256 random bits need no slow hash: there is nothing to guess. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function checksum({ id, secret }: ApiKeyParts): string {
  return crc32(`lh_${id}_${secret}`).toString(16).padStart(8, '0');
}

function randomText(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length * 2)) {
      // 248 = 4 x 62: bytes beyond it would make the first letters likelier.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62];
    }
  }
  return text;
}
