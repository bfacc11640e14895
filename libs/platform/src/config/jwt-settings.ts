import { z } from 'zod';

const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512'];
const KEY_ALGORITHMS = ['RS', 'PS', 'ES'].flatMap((family) => [256, 384, 512].map((bits) => family + bits));
const ALGORITHMS = [...SECRET_ALGORITHMS, ...KEY_ALGORITHMS, 'EdDSA', 'Ed25519'];

/** What is taken where JWT_ALGORITHMS does not say. */
const SECRET_DEFAULT = ['HS256'];
const KEY_DEFAULT = ['RS256', 'ES256', 'EdDSA'];

const LEAST_SECRET_BYTES = 32;

/** `at+jwt` is what RFC 9068 has access tokens say; most identity providers send `JWT`, or nothing. */
const TYPES = ['at+jwt', 'JWT'] as const;

const visible = () => z.string().regex(/^[\x21-\x7e]{1,500}$/);
const claim = (fallback: string) => visible().default(fallback).meta({ takes: 'the name of a claim' });

/** The settings of JSON web tokens. */
export const JWT_ENVIRONMENT = {
  JWT_SECRET: z
    .string()
    .refine((text) => Buffer.byteLength(text) >= LEAST_SECRET_BYTES)
    .optional()
    .meta({ takes: `a text of ${LEAST_SECRET_BYTES} bytes or more` }),
  JWT_JWKS_URL: z
    .string()
    .refine(isKeysAddress)
    .optional()
    .meta({ takes: 'a URL that begins with https://, or with http:// on this machine' }),
  JWT_ALGORITHMS: z
    .string()
    .transform((text) => text.split(',').map((name) => name.trim()))
    .refine((names) => names.every((name) => ALGORITHMS.includes(name)))
    .optional()
    .meta({ takes: `some of ${ALGORITHMS.join(', ')}` }),
  JWT_ISSUER: visible().optional().meta({ takes: 'the iss of the tokens, without spaces' }),
  JWT_AUDIENCE: visible().optional().meta({ takes: 'the aud of the tokens, without spaces' }),
  JWT_OWNER_CLAIM: claim('sub'),
  JWT_SCOPE_CLAIM: claim('scope'),
  JWT_TYPE: z
    .enum(TYPES)
    .default('at+jwt')
    .meta({ takes: TYPES.join(' or ') }),
};

export type JwtSettings = z.output<z.ZodObject<typeof JWT_ENVIRONMENT>>;

/** What may be the algorithm of a token, by our settings and never by the token. */
export function algorithmsOf({ JWT_ALGORITHMS, JWT_SECRET }: JwtSettings): string[] {
  return JWT_ALGORITHMS ?? (JWT_SECRET === undefined ? KEY_DEFAULT : SECRET_DEFAULT);
}

/** What is wrong with these settings together, a sentence for each fault. */
export function jwtFaults(settings: JwtSettings): string[] {
  const { JWT_SECRET: secret, JWT_JWKS_URL: keys, JWT_ALGORITHMS: named = [] } = settings;
  if (secret !== undefined && keys !== undefined)
    return ['JWT_SECRET and JWT_JWKS_URL are both set: set one of them.'];
  const needed = (['JWT_ISSUER', 'JWT_AUDIENCE'] as const).filter((name) => settings[name] === undefined);
  if (secret === undefined && keys === undefined) {
    const idle = (['JWT_ALGORITHMS', 'JWT_ISSUER', 'JWT_AUDIENCE'] as const).filter((name) => settings[name]);
    return idle.map(
      (name) => `${name} is set without JWT_SECRET or JWT_JWKS_URL: set one of them, or leave it out.`,
    );
  }
  const kind = secret === undefined ? 'JWT_JWKS_URL' : 'JWT_SECRET';
  const fitting = secret === undefined ? ALGORITHMS.filter((name) => !isOfSecrets(name)) : SECRET_ALGORITHMS;
  const faults = needed.map((name) => `${name} is not set: it is needed with ${kind}.`);
  if (!named.every((name) => fitting.includes(name))) {
    faults.push(`JWT_ALGORITHMS is not valid: with ${kind} it must be some of ${fitting.join(', ')}.`);
  } else if (secret !== undefined && Buffer.byteLength(secret) < bytesFor(algorithmsOf(settings))) {
    const bytes = bytesFor(algorithmsOf(settings));
    faults.push(`JWT_SECRET is not valid: it must be a text of ${bytes} bytes or more for its algorithms.`);
  }
  return faults;
}

/** A secret is to be as long as the digest, says RFC 7518. */
function bytesFor(algorithms: string[]): number {
  return Math.max(...algorithms.map((name) => Number(name.slice(2)) / 8));
}

function isOfSecrets(algorithm: string): boolean {
  return SECRET_ALGORITHMS.includes(algorithm);
}

/** Whoever could change the answer on its way would make the keys; only on this machine nobody can. */
function isKeysAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, hash } = new URL(text);
  if (username !== '' || password !== '' || hash !== '') return false;
  const isLocal = hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
  return protocol === 'https:' || (protocol === 'http:' && isLocal);
}
