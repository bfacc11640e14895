import { describe, expect, test } from '@jest/globals';
import { ConfigError, loadConfig } from './config.js';
import { algorithmsOf } from './jwt-settings.js';

const LEAST = { SERVICE_TYPE: 'api', DATABASE_URL: 'postgres://localhost/x', REDIS_URL: 'redis://localhost' };
const FOR_US = { JWT_ISSUER: 'https://idp.example/', JWT_AUDIENCE: 'longhaul' };
const KEYS = { JWT_JWKS_URL: 'https://idp.example/keys', ...FOR_US };
const SECRET = { JWT_SECRET: 'hunter2'.repeat(5), ...FOR_US };

type Env = Record<string, string | undefined>;
const load = (env: Env) => loadConfig({ ...LEAST, ...env });

/** The message of the refusal. */
function refusal(env: Env): string {
  try {
    load(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'accepted';
}

describe('the settings of tokens (input 89)', () => {
  test('may be left out', () => {
    expect(load({})).toMatchObject({ JWT_OWNER_CLAIM: 'sub', JWT_SCOPE_CLAIM: 'scope', JWT_TYPE: 'at+jwt' });
  });

  test.each<[Env, string[]]>([
    [KEYS, ['RS256', 'ES256', 'EdDSA']],
    [SECRET, ['HS256']],
    [{ ...KEYS, JWT_ALGORITHMS: 'PS256, ES384' }, ['PS256', 'ES384']],
    [{ ...SECRET, JWT_SECRET: 'é'.repeat(32), JWT_ALGORITHMS: 'HS512' }, ['HS512']],
  ])('%j allow %j', (env, algorithms) => {
    expect(algorithmsOf(load(env))).toEqual(algorithms);
  });

  test.each<[string, Env, RegExp]>([
    ['both kinds', { ...KEYS, ...SECRET }, /^JWT_SECRET and JWT_JWKS_URL are both set/],
    ['no issuer', { ...KEYS, JWT_ISSUER: '' }, /^JWT_ISSUER is not set: it is needed with JWT_JWKS_URL\.$/],
    [
      'no audience',
      { ...SECRET, JWT_AUDIENCE: '' },
      /^JWT_AUDIENCE is not set: it is needed with JWT_SECRET\.$/,
    ],
    ['neither', { JWT_SECRET: SECRET.JWT_SECRET }, /^JWT_ISSUER is not set.*\nJWT_AUDIENCE is not set/],
    ['no kind', FOR_US, /^JWT_ISSUER is set without JWT_SECRET or JWT_JWKS_URL/],
    ['none', { ...KEYS, JWT_ALGORITHMS: 'none' }, /^JWT_ALGORITHMS is not valid: it must be some of HS256/],
    ['nOnE', { ...KEYS, JWT_ALGORITHMS: 'RS256,nOnE' }, /^JWT_ALGORITHMS is not valid/],
    [
      'secrets with keys',
      { ...KEYS, JWT_ALGORITHMS: 'RS256,HS256' },
      /^JWT_ALGORITHMS is not valid: with JWT_JWKS_URL/,
    ],
    [
      'keys with a secret',
      { ...SECRET, JWT_ALGORITHMS: 'RS256' },
      /^JWT_ALGORITHMS is not valid: with JWT_SECRET/,
    ],
    [
      'a short secret',
      { ...SECRET, JWT_SECRET: 'x'.repeat(31) },
      /^JWT_SECRET is not valid: .* 32 bytes or more/,
    ],
    [
      'a secret too short for it',
      { ...SECRET, JWT_ALGORITHMS: 'HS512' },
      /^JWT_SECRET is not valid: .* 64 bytes/,
    ],
    ['another type', { ...KEYS, JWT_TYPE: 'id+jwt' }, /^JWT_TYPE is not valid/],
  ])('refuse %s', (_what, env, message) => {
    expect(refusal(env)).toMatch(message);
    expect(refusal(env)).not.toContain('hunter2');
  });

  test.each([
    ['https://idp.example/keys', true],
    ['http://127.0.0.1:8080/keys', true],
    ['http://localhost/keys', true],
    ['http://[::1]:1/keys', true],
    ['http://idp.example/keys', false],
    ['http://127.0.0.1.example/keys', false],
    ['http://localhost.example/keys', false],
    ['http://10.0.0.1/keys', false],
    ['https://u:p@idp.example/keys', false],
    ['https://idp.example/keys#x', false],
    ['ftp://localhost/keys', false],
    ['file:///etc/passwd', false],
    ['keys', false],
  ])('with the address of keys %s: taken is %s', (address, taken) => {
    expect(refusal({ ...KEYS, JWT_JWKS_URL: address }) === 'accepted').toBe(taken);
  });
});
