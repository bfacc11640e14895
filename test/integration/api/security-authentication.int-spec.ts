import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createApiKey } from '@app/platform/auth/api-key.js';
import { issueApiKey } from '@app/platform/prisma/api-key-store.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

let database: TestDatabase;
let service: TestService;
/** One that is asked with wrong keys until it has enough of them. */
let pestered: TestService;
let alice: ApiUser;

beforeAll(async () => {
  database = await createTestDatabase();
  const environment = serviceEnvironment(database.url, testRedis(), { SERVICE_TYPE: 'api' });
  [service, pestered] = await Promise.all([startService(environment), startService(environment)]);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  // What was refused has written nothing.
  const { rows } = await onDatabase(database.url, (client) => client.query('SELECT 1 FROM jobs'));
  await Promise.all([service?.stop(), pestered?.stop()]);
  await database?.drop();
  expect(rows).toEqual([]);
});

type Lines = [name: string, value: string][];

/** Submits a job with these header lines, as they are: fetch would join or refuse some of them. */
async function submit(lines: Lines, path = '/jobs', { url } = service) {
  const body = JSON.stringify({ numTask: 1 });
  const headers = [
    ['host', new URL(url).host],
    ['content-type', 'application/json'],
    ['content-length', String(body.length)],
    ...lines,
  ].flat();
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: string }>(
    (resolve, reject) => {
      request(new URL(url), { method: 'POST', path, headers }, (answer) => {
        text(answer).then(
          (said) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: said }),
          reject,
        );
      })
        .on('error', reject)
        .end(body);
    },
  );
}

/** What everybody hears whose credential is not right, whatever is wrong with it. */
const UNAUTHENTICATED = {
  status: 401,
  challenge: 'Bearer realm="longhaul"',
  contentType: 'application/problem+json',
  type: 'urn:longhaul:problem:unauthenticated',
  detail: 'A valid API key or token is needed, as "Authorization: Bearer …" or "X-API-Key: …".',
};
/** To who has sent a credential it is said that it is wrong, and no more. */
const WRONG = ', error="invalid_token"';
async function refusal(lines: Lines, path?: string) {
  const { status, headers, body } = await submit(lines, path);
  const { type, detail } = JSON.parse(body) as { type: string; detail: string };
  const contentType = String(headers['content-type']).split(';')[0];
  const challenge = String(headers['www-authenticate']).replace(WRONG, '');
  return { status, challenge, contentType, type, detail };
}

const bearer = (token: string): Lines => [['authorization', `Bearer ${token}`]];
/** A key with the id of another and a secret of its own, whose checksum is right. */
const forgedFrom = (key: string) => {
  const start = `lh_${key.split('_')[1]}_${createApiKey().secret}`;
  return `${start}_${crc32(start).toString(16).padStart(8, '0')}`;
};
const withKey = async (more: object) => {
  const input = { ownerId: 'alice', name: 'x', scopes: ['jobs:write' as const], ...more };
  return (await withClient(database.url, (client) => issueApiKey(client, input))).text;
};

describe('credentials that are none', () => {
  test('input 1: no credential', async () => {
    expect(await refusal([])).toEqual(UNAUTHENTICATED);
    expect((await submit([])).headers['www-authenticate']).toBe('Bearer realm="longhaul"');
  });

  test.each<[string, (key: string) => Lines]>([
    ['Basic', (key) => [['authorization', `Basic ${Buffer.from(`${key}:`).toString('base64')}`]]],
    ['an empty Bearer', () => [['authorization', 'Bearer ']]],
    ['a Bearer alone', () => [['authorization', 'Bearer']]],
    ['an empty header', () => [['authorization', '']]],
    ['a right key and another Authorization', (key) => [...bearer(key), ...bearer('x')]],
    ['another Authorization and a right key', (key) => [...bearer('x'), ...bearer(key)]],
    ['a right key twice', (key) => [...bearer(key), ...bearer(key)]],
    [
      'two X-API-Key headers',
      (key) => [
        ['x-api-key', key],
        ['x-api-key', 'x'],
      ],
    ],
    ['two keys in one header', (key) => [['x-api-key', `${key}, ${key}`]]],
    ['a key in a cookie', (key) => [['cookie', `api_key=${key}`]]],
    ['a key as Proxy-Authorization', (key) => [['proxy-authorization', `Bearer ${key}`]]],
  ])('input 2: %s', async (_what, lines) => {
    expect(await refusal(lines(alice.key))).toEqual(UNAUTHENTICATED);
  });

  test.each<[string, (key: string) => string]>([
    ['a wrong checksum', (key) => `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`],
    ['no checksum', (key) => key.slice(0, -9)],
    ['other capitals', (key) => key.toUpperCase()],
    ['NUL behind it', (key) => `${key}%00`],
    ['8 kB behind it', (key) => key + 'x'.repeat(8_000)],
  ])('input 3: a key with %s', async (_what, key) => {
    expect(await refusal(bearer(key(alice.key)))).toEqual(UNAUTHENTICATED);
  });

  test('input 4: a known id with a wrong secret, as an unknown id', async () => {
    const [known, unknown] = [forgedFrom(alice.key), createApiKey().text];
    expect(await refusal(bearer(known))).toEqual(UNAUTHENTICATED);
    expect(await refusal(bearer(unknown))).toEqual(UNAUTHENTICATED);
    const told = async (key: string) => {
      const { headers, body } = await submit(bearer(key));
      return [
        { ...headers, date: '', 'x-request-id': '' },
        String(body).replaceAll(String(headers['x-request-id']), ''),
      ];
    };
    expect(await told(known)).toEqual(await told(unknown));
    const { headers } = await submit(bearer(known));
    expect(headers['www-authenticate']).toBe(`Bearer realm="longhaul"${WRONG}`);
  });

  test('inputs 5 and 6: a key that was revoked or has expired', async () => {
    expect(await refusal(bearer(await withKey({ expiresAt: new Date(Date.now() - 1) })))).toEqual(
      UNAUTHENTICATED,
    );
    const revoked = await withKey({});
    await onDatabase(database.url, (client) =>
      client.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [revoked.split('_')[1]]),
    );
    expect(await refusal(bearer(revoked))).toEqual(UNAUTHENTICATED);
  });

  test.each(['api_key', 'access_token', 'key', 'token', 'X-API-Key'])(
    'input 7: a key as the parameter %s, which is not logged either',
    async (name) => {
      expect(await refusal([], `/jobs?${name}=${alice.key}`)).toEqual(UNAUTHENTICATED);
      expect(service.log.join('\n')).not.toContain(alice.key.split('_')[2]);
    },
  );

  test('input 8: both headers, though both are right', async () => {
    const { status, body } = await submit([...bearer(alice.key), ['x-api-key', alice.key]]);
    expect([status, JSON.parse(body).type]).toEqual([400, 'urn:longhaul:problem:malformed-request']);
  });
});

const part = (value: object | string) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** JSON web tokens, which no process takes that is not told whose to trust. */
describe('tokens that nobody here trusts', () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    sub: 'alice',
    owner: 'alice',
    scope: 'jobs:write admin',
    iss: 'x',
    aud: 'x',
    iat: now,
    exp: now + 600,
  };
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
  const hs256 = (header: object, payload: object = claims, secret = 'secret') => {
    const signed = `${part({ alg: 'HS256', ...header })}.${part(payload)}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  const rs256 = (header: object, payload: object = claims) => {
    const signed = `${part({ alg: 'RS256', ...header })}.${part(payload)}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
  };
  const jwk = publicKey.export({ format: 'jwk' });

  test.each<[string, string]>([
    ['input 10: alg none', `${part({ alg: 'none' })}.${part(claims)}.`],
    ['input 10: alg nOnE', `${part({ alg: 'nOnE' })}.${part(claims)}.`],
    ['input 11: HS256 with the public key', hs256({}, claims, publicPem)],
    ['input 12: an unknown kid', rs256({ kid: 'unknown' })],
    ['input 13: a kid that is a path', rs256({ kid: '../../etc/passwd' })],
    ['input 13: a kid that is SQL', rs256({ kid: `' OR 1=1--` })],
    ['input 13: a kid of 4 kB', rs256({ kid: 'k'.repeat(4_000) })],
    ['input 14: a jwk in the header', rs256({ jwk })],
    ['input 14: a jku in the header', rs256({ jku: 'http://127.0.0.1:9/keys' })],
    ['input 14: an x5u in the header', rs256({ x5u: 'http://127.0.0.1:9/cert' })],
    ['input 15: another issuer', rs256({}, { ...claims, iss: 'y' })],
    ['input 16: no audience', rs256({}, { ...claims, aud: undefined })],
    ['input 17: expired', rs256({}, { ...claims, exp: now - 61 })],
    ['input 18: not valid yet', rs256({}, { ...claims, nbf: now + 600 })],
    ['input 18: without an end', rs256({}, { ...claims, exp: undefined })],
    ['input 19: typ JWT', rs256({ typ: 'JWT' })],
    ['input 20: no owner', rs256({}, { ...claims, sub: undefined, owner: undefined })],
    ['input 20: a list of owners', rs256({}, { ...claims, sub: ['alice'] })],
    ['input 21: of 9 kB', rs256({}, { ...claims, more: 'x'.repeat(9_000) })],
    ['input 21: four dots', `${rs256({})}.x.y`],
    ['input 21: not base64', 'eyJ!.@@.##'],
    ['input 21: an unknown crit', rs256({ crit: ['x'], x: 1 })],
  ])('%s', async (_what, token) => {
    expect(await refusal(bearer(token))).toEqual(UNAUTHENTICATED);
  });
});

test('input 23: a hundred wrong keys in a minute, and then 429; a right key is taken as ever', async () => {
  const statuses: number[] = [];
  for (let count = 0; count < 101; count++) {
    const { status, headers, body } = await submit(bearer(`wrong-${count}`), '/jobs', pestered);
    statuses.push(status);
    if (status !== 429) continue;
    expect(JSON.parse(body).type).toBe('urn:longhaul:problem:rate-limited');
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    expect(Number(headers['retry-after'])).toBeLessThanOrEqual(60);
  }
  expect(statuses).toEqual([...Array.from({ length: 100 }, () => 401), 429]);
  const answer = await fetch(`${pestered.url}/jobs`, { headers: { 'x-api-key': alice.key } });
  expect(answer.status).toBe(200);
  // Each process counts for itself, and who sends nothing at all is only told what is needed.
  expect((await fetch(`${pestered.url}/jobs`)).status).toBe(401);
});
