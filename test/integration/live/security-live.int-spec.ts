import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Client } from 'pg';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { listen, LiveClient, upgrade } from '../../support/live-client.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

jest.setTimeout(60_000);

const ORIGIN = 'https://app.example.com';
const PLACES = 8;
const RANDOM = '019a0000-0000-7000-8000-000000000000';

let database: TestDatabase;
let service: TestService;
let other: TestService;
let alice: ApiUser;
let admin: ApiUser;
const clients: LiveClient[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  const redis = testRedis();
  const more = { CORS_ORIGINS: ORIGIN, LIVE_CONNECTIONS: String(PLACES), LIVE_BUFFER: '65536' };
  [service, other] = await Promise.all([
    startService(serviceEnvironment(database.url, redis, { ...more, SERVICE_TYPE: 'all' })),
    startService(serviceEnvironment(database.url, redis, { ...more, SERVICE_TYPE: 'api' })),
  ]);
  [alice, admin] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'root', ['admin'])]);
}, 60_000);
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});
afterAll(async () => {
  await Promise.all([service?.stop(), other?.stop()]);
  await database?.drop();
});

const problem = (slug: string) => `urn:longhaul:problem:${slug}`;
const ticketOf = async (user: ApiUser) => (await user.send('POST', '/ws-tickets')).body.ticket as string;
const protocols = (ticket: string) => ['longhaul', `longhaul.ticket.${ticket}`];

async function connect(user: ApiUser = alice, path = '/'): Promise<LiveClient> {
  const client = await listen({ url: user.url, key: user.key }, path);
  clients.push(client);
  return client;
}

describe('the upgrade', () => {
  test('input 80: no page of another origin gets in, whatever it is called', async () => {
    const tried = [
      'https://evil.io',
      'null',
      `${ORIGIN}.evil.io`,
      'http://app.example.com',
      `${ORIGIN}:8443`,
      'https://xapp.example.com',
      `${ORIGIN}/`,
      ORIGIN.toUpperCase(),
      '',
    ];
    for (const origin of tried) {
      const answer = await upgrade(alice, '/', { headers: { origin } });
      expect([origin, answer]).toMatchObject([origin, { status: 403, type: problem('origin-not-allowed') }]);
    }
    const none = await upgrade({ url: service.url });
    expect(none).toMatchObject({ status: 401, type: problem('unauthenticated') });
    expect((await upgrade(alice, '/', { headers: { origin: ORIGIN } })).status).toBe(101);
  });

  test('input 81: a credential in the address is refused, and is in no log', async () => {
    const ticket = await ticketOf(alice);
    for (const name of ['api_key', 'token', 'access_token', 'key', 'ticket', 'X-API-Key', 'authorization']) {
      const value = name === 'ticket' ? ticket : alice.key;
      const alone = await upgrade({ url: service.url }, `/?${name}=${value}`);
      expect([name, alone]).toMatchObject([name, { status: 401, type: problem('unauthenticated') }]);
      expect((await upgrade(alice, `/?${name}=${value}`)).status).toBe(401);
    }
    expect(service.log.join('\n')).not.toContain(alice.key);
    expect(service.log.join('\n')).not.toContain(ticket);
  });

  test('input 82: nobody is connected without having shown a credential', async () => {
    const wrong = `${alice.key.slice(0, -1)}${alice.key.endsWith('0') ? '1' : '0'}`;
    for (const key of ['', 'x', wrong]) {
      const answer = await upgrade({ url: service.url, key });
      expect(answer).toMatchObject({ status: 401, type: problem('unauthenticated') });
      expect(answer.headers).toMatchObject({
        'www-authenticate': 'Bearer realm="longhaul"',
        connection: 'close',
      });
    }
    const both = await upgrade(alice, '/', { headers: { 'x-api-key': alice.key } });
    expect(both).toMatchObject({ status: 400, type: problem('malformed-request') });
    const writer = await apiUser(service, 'alice', ['jobs:write']);
    expect(await upgrade(writer)).toMatchObject({ status: 403, type: problem('insufficient-scope') });
    expect((await upgrade(alice, '/jobs')).status).toBe(404);
    expect((await upgrade(alice, '/?zzz=1')).status).toBe(400);
    expect((await upgrade(alice, '/?type=a&type=b')).status).toBe(400);
  });

  test('input 83: a ticket lets in once, on any pod, and not when it is old or made up', async () => {
    const ticket = await ticketOf(alice);
    const { rows } = await query('SELECT * FROM live_tickets');
    expect(JSON.stringify(rows)).not.toContain(ticket);
    const client = await listen({ url: other.url }, '/', { origin: ORIGIN }, protocols(ticket));
    clients.push(client);
    expect(client.socket.protocol).toBe('longhaul');
    const old = await ticketOf(alice);
    await query(`UPDATE live_tickets SET expires_at = clock_timestamp() - interval '1 millisecond'`);
    for (const bad of [ticket, old, 'x', `${ticket}x`, RANDOM]) {
      const answer = await upgrade({ url: service.url }, '/', {}, protocols(bad));
      expect([bad, answer]).toMatchObject([bad, { status: 101, code: 4401 }]);
    }
    expect((await upgrade(alice, '/', {}, protocols(await ticketOf(alice)))).status).toBe(400);
    // Two at once: one gets in.
    const shared = await ticketOf(alice);
    const answers = await Promise.all(
      [service, other].map(({ url }) => upgrade({ url }, '/', {}, protocols(shared))),
    );
    expect(answers.filter(({ code }) => code === undefined)).toHaveLength(1);
  });

  test('input 83: a ticket holds no longer than the key that it was made with', async () => {
    const [revoked, expired] = await Promise.all([apiUser(service, 'erin'), apiUser(service, 'erin')]);
    const tickets = [await ticketOf(revoked), await ticketOf(expired)];
    await admin.send('DELETE', `/api-keys/${idOf(revoked)}`);
    await query(`UPDATE api_keys SET expires_at = now() WHERE id = '${idOf(expired)}'`);
    for (const ticket of tickets)
      expect(await upgrade({ url: service.url }, '/', {}, protocols(ticket))).toMatchObject({ code: 4401 });
  });

  test('input 85: a frame without a mask behind a bad ticket ends nothing but its connection', async () => {
    const socket = connectTcp(Number(new URL(service.url).port), '127.0.0.1');
    socket.on('error', () => {});
    const gone = once(socket, 'close');
    socket.write(
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\nSec-WebSocket-Protocol: ${protocols('x').join(', ')}\r\n\r\n`,
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(String(answer)).toMatch(/^HTTP\/1.1 101 /);
    socket.write(Buffer.from([0x81, 2, ...Buffer.from('{}')]));
    await gone;
    expect((await upgrade(alice)).status).toBe(101);
    expect(service.process.exitCode).toBeNull();
  });

  test('an address that is none of ours is not there, and is no error of the service', async () => {
    for (const path of ['//', '//?x=1', '//x:y']) expect([path, await rawUpgrade(path)]).toEqual([path, 404]);
    expect(service.log.join('\n')).not.toContain('"status":500');
  });

  test('a HEAD of a stream opens none', async () => {
    const frank = await apiUser(service, 'frank');
    const { jobId } = await frank.submit({ type: 'demo.wait', payload: { durationMs: 3_600_000 } });
    const headers = { authorization: `Bearer ${frank.key}`, accept: 'text/event-stream' };
    for (let times = 0; times < PLACES; times++)
      for (const path of ['/events', `/jobs/${jobId}/events`]) {
        const answer = await fetch(`${service.url}${path}`, { method: 'HEAD', headers });
        expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
      }
    expect((await upgrade(frank)).status).toBe(101);
    await frank.send('POST', `/jobs/${jobId}/cancel`);
  });

  test('input 86: one connection more than a credential may have is told to wait', async () => {
    const carol = await apiUser(service, 'carol');
    for (let at = 0; at < PLACES; at++) await connect(carol);
    const refused = await upgrade(carol);
    expect(refused).toMatchObject({ status: 429, type: problem('rate-limited') });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    // Streams of events are counted with them, and others have places of their own.
    expect((await carol.send('GET', '/events')).status).toBe(429);
    expect((await upgrade(alice)).status).toBe(101);
    await clients.pop()?.close();
    await eventually(async () => expect((await upgrade(carol)).status).toBe(101));
  });

  test('an offer of HTTP/2 is answered as if it were not there', async () => {
    const socket = connectTcp(Number(new URL(service.url).port), '127.0.0.1');
    const body = JSON.stringify({ type: 'demo.wait', payload: { durationMs: 1 } });
    socket.write(
      `POST /jobs HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n` +
        `Authorization: Bearer ${alice.key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(String(answer)).toMatch(/^HTTP\/1.1 201 /);
  });
});

describe('what a client says', () => {
  test('input 84: jobs of others, wildcards and too many names are refused, and nothing of them is heard', async () => {
    const bob = await apiUser(service, 'bob');
    const { jobId } = await bob.submit({ type: 'demo.wait', payload: { durationMs: 1 } });
    const client = await connect();
    const refusal = async (data: unknown) => {
      client.told.length = 0;
      client.say('subscribe', data);
      return (await client.heard(({ event }) => event === 'error')).data;
    };
    expect(await refusal({ jobIds: [jobId] })).toEqual(await refusal({ jobIds: [RANDOM] }));
    expect(await refusal({ jobIds: ['*'] })).toMatchObject({ type: problem('validation-error') });
    const many = Array.from({ length: 201 }, (_, at) => RANDOM.slice(0, -3) + String(at).padStart(3, '0'));
    expect(await refusal({ jobIds: many })).toMatchObject({ type: problem('validation-error') });
    expect(await refusal({ owner: 'bob' })).toMatchObject({ type: problem('validation-error') });
    client.socket.send('no JSON');
    await client.heard(({ event, data }) => event === 'error' && data.type === problem('malformed-request'));
    expect(client.of('job-update')).toEqual([]);
    expect(client.socket.readyState).toBe(client.socket.OPEN);
  });

  test.each([
    [
      'a message of 16 KiB and one byte',
      1009,
      (client: LiveClient) => client.socket.send('x'.repeat(16 * 1024 + 1)),
    ],
    ['a binary message', 1003, (client: LiveClient) => client.socket.send(Buffer.from('{}'))],
    [
      'text that is no UTF-8',
      1007,
      (client: LiveClient) => client.socket.send(Buffer.from([0xff]), { binary: false }),
    ],
    ['a frame without a mask', 1002, (client: LiveClient) => client.socket.send('{}', { mask: false })],
  ])('input 85: %s ends the connection with %d', async (_what, code, send) => {
    const client = await connect();
    send(client);
    expect((await client.closed).code).toBe(code);
  });

  test('input 86: a hundred messages in a second end the connection with 1008', async () => {
    const client = await connect();
    for (let at = 0; at < 100; at++) client.say('subscribe', {});
    expect((await client.closed).code).toBe(1008);
  });
});

describe('while it is open', () => {
  test('input 87: a connection ends within 5 s of its key, revoked or expired, however it came in', async () => {
    const [dora, expiring] = await Promise.all([apiUser(service, 'dora'), apiUser(service, 'dora')]);
    const byTicket = await listen({ url: service.url }, '/', {}, protocols(await ticketOf(dora)));
    const byKey = await connect(dora);
    const soon = await connect(expiring);
    const lasting = await connect();
    const stream = await fetch(`${service.url}/events`, { headers: { authorization: `Bearer ${dora.key}` } });
    const begun = performance.now();
    await admin.send('DELETE', `/api-keys/${idOf(dora)}`);
    await query(`UPDATE api_keys SET expires_at = now() WHERE id = '${idOf(expiring)}'`);
    for (const client of [byTicket, byKey, soon]) expect((await client.closed).code).toBe(4401);
    await stream.text();
    // They are looked at each second or two; the rest is for a slow machine.
    expect(performance.now() - begun).toBeLessThan(15_000);
    expect(lasting.socket.readyState).toBe(lasting.socket.OPEN);
  });

  test('who comes back and reads is told all that was missed, however little may wait', async () => {
    const first = await connect();
    const { jobId } = await alice.submit({ type: 'demo.wait', payload: { durationMs: 3_600_000 } });
    const { id = '' } = await first.status(jobId, 'queued');
    await first.close();
    const payload = { durationMs: 3_600_000 };
    const ids = [jobId];
    // More than the system itself holds for who does not read at once.
    for (let at = 0; at < 4; at++)
      ids.push((await alice.submit({ type: 'demo.wait', numTask: 9000, payload })).jobId);
    for (const one of ids)
      expect(await alice.send('POST', `/jobs/${one}/cancel`)).toMatchObject({ status: 200 });
    const back = await connect(alice, `/?after=${encodeURIComponent(id)}`);
    // Nothing is left to be told before this.
    expect(back.told.at(-1)).toMatchObject({ event: 'subscribed' });
    const ends = back.of('task-update').filter(({ status }) => status === 'canceled');
    expect(ends).toHaveLength(4 * 9000 + 1);
    const last = await alice.submit({ type: 'demo.wait', payload: { durationMs: 1 } });
    await back.status(last.jobId, 'completed');
  }, 180_000);

  test('input 88: who never reads is dropped, nobody else notices, and no memory is kept for it', async () => {
    const lazy = await connect();
    const eager = await connect();
    lazy.socket.pause();
    const before = await rssOf();
    // Each is told by some 2 MB, more than the system itself holds for who does not read.
    const ids: string[] = [];
    for (let at = 0; at < 8; at++) {
      const { jobId } = await alice.submit({
        type: 'demo.wait',
        numTask: 9000,
        payload: { durationMs: 3_600_000 },
      });
      expect(await alice.send('POST', `/jobs/${jobId}/cancel`)).toMatchObject({ status: 200 });
      await eager.status(jobId, 'canceled', 60_000);
      ids.push(jobId);
    }
    await eventually(() =>
      expect(service.log.join('\n')).toMatch(/"code":10(13|06),"msg":"a WebSocket was closed"/),
    );
    lazy.socket.resume();
    expect([1013, 1006]).toContain((await lazy.closed).code);
    expect(eager.of('task-update', ids.at(-1)).filter(({ status }) => status === 'canceled')).toHaveLength(
      9000,
    );
    expect((await rssOf()) - before).toBeLessThan(150_000_000);
  }, 240_000);
});

/** The status of an upgrade of just this address, which a client would make another of. */
async function rawUpgrade(path: string): Promise<number> {
  const socket = connectTcp(Number(new URL(service.url).port), '127.0.0.1');
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`,
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return Number(String(answer).split(' ')[1]);
}

/** The memory of the service in bytes. */
async function rssOf(): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(service.process.pid)]);
  return Number(stdout) * 1024;
}

/** The public part of a key. */
function idOf(user: ApiUser): string {
  return user.key.split('_')[1] ?? '';
}

/** Runs SQL as the administrator of the database would. */
async function query(sql: string): Promise<{ rows: unknown[] }> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}
