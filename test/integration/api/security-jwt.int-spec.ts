import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { onDatabase } from '../../../scripts/db/database.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { IdentityProvider, now } from '../../support/identity-provider.js';
import { upgrade } from '../../support/live-client.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';
import { wrongTokens } from './wrong-tokens.js';

let database: TestDatabase;
let provider: IdentityProvider;
/** One that somebody else runs; nobody is to ask it. */
let stranger: Server;
let strangerAsked = 0;
let service: TestService;
/** A provider that is away at first, and a service that has never reached it. */
let absent: IdentityProvider;
let cold: TestService;
let alice: ApiUser;

beforeAll(async () => {
  [database, provider] = await Promise.all([createTestDatabase(), IdentityProvider.start()]);
  stranger = createServer((_request, response) => {
    strangerAsked++;
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(stranger, 'listening');
  // A key whose algorithm is not on our list.
  await provider.addKey('second', 'PS256');
  absent = await IdentityProvider.start();
  await absent.down();
  const trusting = (one: IdentityProvider) =>
    serviceEnvironment(database.url, testRedis(), {
      SERVICE_TYPE: 'api',
      JWT_JWKS_URL: one.url,
      JWT_ISSUER: one.issuer,
      JWT_AUDIENCE: one.audience,
      TRUST_PROXY: '127.0.0.1',
      LOG_LEVEL: 'debug',
    });
  [service, cold] = await Promise.all([startService(trusting(provider)), startService(trusting(absent))]);
  alice = await apiUser(service, 'alice');
}, 60_000);
afterAll(async () => {
  await Promise.all([service?.stop(), cold?.stop()]);
  await Promise.all([provider?.down(), absent?.down()]);
  stranger?.close();
  await database?.drop();
});

/** Each has an address of its own, so that none is told to wait for the faults of the others. */
let clients = 0;
const elsewhere = () => `10.0.${(++clients >> 8) & 255}.${clients & 255}`;

const ask = (token: string, path = '/jobs', from = elsewhere()) =>
  fetch(`${service.url}${path}`, { headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': from } });
const statusOf = async (token: string) => (await ask(token)).status;

/** What everybody hears whose token is wrong, in whatever way. */
const REFUSED = {
  status: 401,
  challenge: 'Bearer realm="longhaul", error="invalid_token"',
  type: 'urn:longhaul:problem:unauthenticated',
  title: 'A valid credential is needed',
  detail: 'A valid API key or token is needed, as "Authorization: Bearer …" or "X-API-Key: …".',
};
async function answerTo(token: string): Promise<Record<string, unknown>> {
  const answer = await ask(token);
  const { instance: _of, ...body } = (await answer.json()) as Record<string, unknown>;
  return { challenge: answer.headers.get('www-authenticate'), ...body };
}

/** Submits a job for later; answers the status and the id. */
async function submit(token: string): Promise<{ status: number; jobId: string }> {
  const answer = await fetch(`${service.url}/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'demo.wait', runAt: '2999-01-01T00:00:00Z' }),
  });
  const { jobId } = (await answer.json()) as { jobId: string };
  return { status: answer.status, jobId };
}

describe('a token of our identity provider (feature 2)', () => {
  test('is taken for its owner, who has what keys of that owner have, with its scopes and no others', async () => {
    const [writer, reader] = [
      await provider.sign(),
      await provider.sign({ scope: ['openid', 'jobs:read', 'x'] }),
    ];
    const { status, jobId } = await submit(writer);
    expect(status).toBe(201);
    expect((await alice.get(`/jobs/${jobId}`)).status).toBe(200);
    expect((await ask(reader, `/jobs/${jobId}`)).status).toBe(200);
    expect((await submit(reader)).status).toBe(403);
    expect((await ask(await provider.sign({ sub: 'bob' }), `/jobs/${jobId}`)).status).toBe(404);
    const { body } = await alice.get(`/jobs/${jobId}/events`);
    expect(body.events[0].actor).toBe('jwt:alice');
    await alice.send('DELETE', `/jobs/${jobId}`);
    await onDatabase(database.url, (client) => client.query('DELETE FROM jobs WHERE id = $1', [jobId]));
  });

  test('is not taken beside a key (input 8)', async () => {
    const headers = { authorization: `Bearer ${await provider.sign()}`, 'x-api-key': alice.key };
    expect((await fetch(`${service.url}/jobs`, { headers })).status).toBe(400);
  });

  test('without a scope of ours may do nothing', async () => {
    for (const scope of [undefined, '', 'openid', 7, { admin: true }, 'JOBS:READ']) {
      expect(await statusOf(await provider.sign({ scope }))).toBe(403);
    }
  });

  test.each([
    ['its audience among others', { aud: ['other', 'longhaul'] }],
    ['an end 30 s ago (input 17)', { exp: -30 }],
    ['a time of issue in 30 s (input 18)', { iat: 30 }],
    ['a begin in 30 s (input 18)', { nbf: 30 }],
    ['no time of issue', { iat: undefined }],
  ])('is taken with %s', async (_what, claims) => {
    const given = Object.entries(claims).map(([name, value]) => [
      name,
      typeof value === 'number' ? now() + value : value,
    ]);
    expect(await statusOf(await provider.sign(Object.fromEntries(given)))).toBe(200);
  });
});

describe('C49, C51: a token is 401', () => {
  const world = {
    get provider() {
      return provider;
    },
    get stranger() {
      return `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
    },
  };

  test.each(wrongTokens(world))('with %s', async (_way, make) => {
    const token = await make();
    expect(await answerTo(token)).toEqual(REFUSED);
    const headers = { authorization: `Bearer ${token}`, 'x-forwarded-for': elsewhere() };
    expect(await upgrade({ url: service.url }, '/', { headers })).toMatchObject({
      status: 401,
      type: REFUSED.type,
    });
  });

  test('and a right one opens a WebSocket and a list, with an end that is sane', async () => {
    const token = await provider.sign({ exp: now() + 600 });
    const headers = { authorization: `Bearer ${token}`, 'x-forwarded-for': elsewhere() };
    expect((await upgrade({ url: service.url }, '/', { headers })).status).toBe(101);
    expect(await statusOf(token)).toBe(200);
  });

  test('and nobody else was asked, nothing was written, and no token is in the log (inputs 14, 90)', async () => {
    expect(strangerAsked).toBe(0);
    const { rows } = await onDatabase(database.url, (client) => client.query('SELECT 1 FROM jobs'));
    expect(rows).toEqual([]);
    const log = service.log.join('\n');
    expect(log).toContain('"msg":"a token was refused"');
    expect(log).not.toMatch(/eyJ|etc\/passwd|kkkk/);
  });
});

describe('many wrong tokens', () => {
  test('input 12: a thousand unknown kids are 401, with one question to the provider in half a minute', async () => {
    await statusOf(await provider.sign());
    const before = provider.requests;
    const began = performance.now();
    const token = await provider.sign({}, { kid: 'nobody' });
    const seen = new Set<number>();
    for (let round = 0; round < 20; round++) {
      const from = elsewhere();
      const answers = await Promise.all(Array.from({ length: 50 }, () => ask(token, '/jobs', from)));
      for (const { status } of answers) seen.add(status);
    }
    expect([...seen]).toEqual([401]);
    // One at the beginning, and one for each half minute that all this has taken.
    const most = 1 + Math.floor((performance.now() - began) / 30_000);
    expect(provider.requests - before).toBeLessThanOrEqual(most);
    expect(await statusOf(await provider.sign())).toBe(200);
  });

  test('input 23: count as wrong keys do, and a right one is taken all the same', async () => {
    const from = elsewhere();
    const wrong = await provider.sign({ aud: 'other' });
    const seen: number[] = [];
    // At once, so that they are within one minute on any machine.
    const askMany = async (count: number) => {
      const answers = await Promise.all(Array.from({ length: count }, () => ask(wrong, '/jobs', from)));
      seen.push(...answers.map(({ status }) => status));
    };
    await askMany(100);
    await askMany(1);
    expect(seen).toEqual([...Array.from({ length: 100 }, () => 401), 429]);
    expect((await ask(await provider.sign(), '/jobs', from)).status).toBe(200);
  });
});

describe('without the identity provider', () => {
  test('input 22: the keys that are known serve on, and a token whose key is not is 503 or 401', async () => {
    expect(await statusOf(await provider.sign())).toBe(200);
    await provider.down();
    try {
      expect(await statusOf(await provider.sign())).toBe(200);
      expect(await answerTo(await provider.sign({ aud: 'other' }))).toEqual(REFUSED);
      expect([401, 503]).toContain(await statusOf(await provider.sign({}, { kid: 'unknown' })));
    } finally {
      await provider.up();
    }
  });

  test('input 22: with no key known yet every token is 503, and API keys are taken, until it is back', async () => {
    const answers = await Promise.all(
      [await absent.sign(), await absent.sign({ aud: 'other' }), await absent.sign({}, { kid: 'x' })].map(
        (token) => fetch(`${cold.url}/jobs`, { headers: { authorization: `Bearer ${token}` } }),
      ),
    );
    for (const answer of answers) {
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      const body = (await answer.json()) as Record<string, unknown>;
      expect(body['type']).toBe('urn:longhaul:problem:auth-unavailable');
      expect(JSON.stringify(body)).not.toMatch(/127\.0\.0\.1|ECONNREFUSED|keys\?/);
    }
    const key = { 'x-api-key': alice.key };
    expect((await fetch(`${cold.url}/jobs`, { headers: key })).status).toBe(200);
    await absent.up();
    const right = { authorization: `Bearer ${await absent.sign()}` };
    await eventually(async () =>
      expect((await fetch(`${cold.url}/jobs`, { headers: right })).status).toBe(200),
    );
  });
});
