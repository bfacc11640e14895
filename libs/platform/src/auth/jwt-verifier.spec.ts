import { describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import type { JwtSettings } from '../config/jwt-settings.js';
import { createLogger } from '../observability/logger.js';
import { jwtVerifierOf } from './jwt-verifier.js';

const logger = createLogger('silent');
const SECRET = 's'.repeat(64);
const SETTINGS: JwtSettings = {
  JWT_SECRET: SECRET,
  JWT_ISSUER: 'https://idp.example/',
  JWT_AUDIENCE: 'longhaul',
  JWT_OWNER_CLAIM: 'sub',
  JWT_SCOPE_CLAIM: 'scope',
  JWT_TYPE: 'at+jwt',
};
const END = 4_000_000_000;
const RIGHT = {
  iss: 'https://idp.example/',
  aud: 'longhaul',
  sub: 'alice',
  scope: 'jobs:read openid jobs:write',
  exp: END,
};

/** Signs with the secret; a claim or parameter that is undefined is left out. */
const token = (claims: object = {}, header: object = {}, secret = SECRET) =>
  new SignJWT({ ...RIGHT, ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', ...header })
    .sign(Buffer.from(secret));
const verify = async (text: string, settings: Partial<JwtSettings> = {}) =>
  jwtVerifierOf({ ...SETTINGS, ...settings }, logger)?.verify(text);

describe('a token of a shared secret', () => {
  test('tells the owner, the scopes that are known here, and its end', async () => {
    expect(await verify(await token())).toEqual({
      ownerId: 'alice',
      actor: 'jwt:alice',
      scopes: ['jobs:read', 'jobs:write'],
      expiresAt: new Date(END * 1000),
    });
  });

  test('is refused of another secret and with another algorithm than is allowed', async () => {
    expect(await verify(await token({}, {}, 't'.repeat(64)))).toBeUndefined();
    expect(await verify(await token({}, { alg: 'HS512' }))).toBeUndefined();
    expect(await verify(await token({}, { alg: 'HS512' }), { JWT_ALGORITHMS: ['HS512'] })).toBeDefined();
    expect(await verify(await token(), { JWT_ALGORITHMS: ['HS512'] })).toBeUndefined();
  });

  test('is 8 kB long at most, and a longer one is refused before anything of it is read', async () => {
    const base = (await token({ more: '' })).length;
    const most = Math.floor(((8192 - base) * 3) / 4);
    expect(await verify(await token({ more: 'x'.repeat(most) }))).toBeDefined();
    expect(await verify(await token({ more: 'x'.repeat(most + 3) }))).toBeUndefined();
  });

  test('may name the owner and the scopes by other claims, and the user beside the owner', async () => {
    const claims = { 'https://acme.example/team': 'north', scp: ['admin', 7, 'x'] };
    const settings = { JWT_OWNER_CLAIM: 'https://acme.example/team', JWT_SCOPE_CLAIM: 'scp' };
    const found = { ownerId: 'north', scopes: ['admin'] };
    expect(await verify(await token(claims), settings)).toMatchObject({ ...found, actor: 'jwt:alice' });
    // No user, or none whose name could be written into a log.
    for (const sub of [undefined, 'a\nb', '']) {
      expect(await verify(await token({ ...claims, sub }), settings)).toMatchObject({ actor: 'jwt:north' });
    }
    expect(await verify(await token({ scp: 'admin' }), settings)).toBeUndefined();
  });
});

describe('the type of a token (input 19)', () => {
  const types = [
    'at+jwt',
    'AT+JWT',
    'application/at+jwt',
    'JWT',
    'application/jwt',
    undefined,
    'id+jwt',
    'logout+jwt',
  ];
  const taken = async (JWT_TYPE: JwtSettings['JWT_TYPE']) => {
    const found = [];
    for (const typ of types) if (await verify(await token({}, { typ }), { JWT_TYPE })) found.push(typ);
    return found;
  };

  test('is that of access tokens, unless it is to be any', async () => {
    expect(await taken('at+jwt')).toEqual(['at+jwt', 'AT+JWT', 'application/at+jwt']);
    expect(await taken('JWT')).toEqual([
      'at+jwt',
      'AT+JWT',
      'application/at+jwt',
      'JWT',
      'application/jwt',
      undefined,
    ]);
  });

  test.each([{ at_hash: 'x' }, { c_hash: 'x' }, { token_use: 'id' }, { typ: 'ID' }])(
    'may be JWT, but not of what is an id token by its claim %j',
    async (claims) => {
      expect(await verify(await token(claims, { typ: 'JWT' }), { JWT_TYPE: 'JWT' })).toBeUndefined();
    },
  );

  test('may be JWT of an access token as Keycloak and Cognito make them', async () => {
    for (const claims of [{ typ: 'Bearer', nonce: 'x' }, { token_use: 'access' }]) {
      expect(await verify(await token(claims, { typ: 'JWT' }), { JWT_TYPE: 'JWT' })).toBeDefined();
    }
  });
});

describe('the verifier', () => {
  test('is none without a secret or keys', () => {
    expect(jwtVerifierOf({ ...SETTINGS, JWT_SECRET: undefined }, logger)).toBeNull();
  });

  test.each(['JWT_ISSUER', 'JWT_AUDIENCE'])(
    'is not made without %s, which then nobody would check',
    (name) => {
      expect(() => jwtVerifierOf({ ...SETTINGS, [name]: undefined }, logger)).toThrow('Tokens need');
    },
  );
});
