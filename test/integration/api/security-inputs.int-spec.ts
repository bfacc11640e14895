import { once } from 'node:events';
import http from 'node:http';
import { connect } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withClient } from '@app/platform/prisma/open-client.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

// Inputs that a service on a network gets sooner or later. Whatever they are, they are answered with a problem, in good
// time, and leave no row behind. The numbers are those of the list that they were gathered in.

let database: TestDatabase;
let service: TestService;
let alice: ApiUser;
let reader: ApiUser;
let before: string;

/** Of every answer of this file. */
const statuses: number[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startService(
    serviceEnvironment(database.url, testRedis(), { SERVICE_TYPE: 'api', REQUEST_TIMEOUT: '2s' }),
  );
  [alice, reader] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'alice', ['jobs:read'])]);
  before = await rows();
});
afterAll(async () => {
  try {
    expect(statuses.filter((status) => status >= 500)).toEqual([]);
    expect(statuses.length).toBeGreaterThan(100);
    expect(await rows()).toBe(before);
    expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
  } finally {
    await service?.stop();
    await database?.drop();
  }
});

/** How many rows there are in everything that a submit writes. */
async function rows(): Promise<string> {
  const tables = [
    'jobs',
    'tasks',
    'task_inputs',
    'dispatch',
    'job_events',
    'job_labels',
    'idempotency_keys',
    'dedupe_keys',
  ];
  const counts = tables.map((table) => `(SELECT count(*) FROM ${table})`).join(` || ' ' || `);
  const [row] = await withClient(database.url, (client) =>
    client.$queryRawUnsafe<{ counts: string }[]>(`SELECT ${counts} AS counts`),
  );
  return row?.counts ?? '';
}

interface Refusal {
  status: number;
  slug: string;
  headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- the tests look into it
  body: any;
}

/** Sends a request that must be refused, with a problem as every refusal is one. */
async function refused(path: string, init: RequestInit = {}, user: ApiUser | null = alice): Promise<Refusal> {
  const began = performance.now();
  const response = await fetch(`${service.url}${path}`, {
    ...init,
    headers: {
      ...(user && { authorization: `Bearer ${user.key}` }),
      ...(init.headers as Record<string, string>),
    },
  });
  const text = await response.text();
  expect(performance.now() - began).toBeLessThan(2000);
  statuses.push(response.status);
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  const body = JSON.parse(text);
  expect(body.status).toBe(response.status);
  expect(body.type).toMatch(/^urn:longhaul:problem:[a-z-]+$/);
  expect(body.instance).toBe(`urn:longhaul:request:${response.headers.get('x-request-id')}`);
  expect(text).not.toMatch(/node_modules|at .*\.[jt]s:\d|SELECT|INSERT|prisma|postgres/i);
  return { status: response.status, slug: body.type.slice(21), headers: response.headers, body };
}

const json = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});
const demo = (more: object) => ({ type: 'demo.wait', ...more });
const refusedBody = (body: unknown, headers?: Record<string, string>) =>
  refused('/jobs', json(body, headers));

/** The first line and the body of what a server answers to bytes, until it closes the connection. */
async function raw(bytes: string): Promise<{ status: number; text: string }> {
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
  await once(socket, 'connect');
  socket.write(bytes);
  const text = await readAll(socket);
  const status = Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);
  statuses.push(status);
  return { status, text };
}

describe('who asks (feature 2)', () => {
  test.each([
    ['1 nothing', {}],
    ['2 Basic', { authorization: 'Basic YTpi' }],
    ['2 an empty Bearer', { authorization: 'Bearer ' }],
    ['2 two Authorization headers', { authorization: 'Bearer a, Bearer b' }],
    ['3 a key with a wrong checksum', { authorization: 'Bearer lh_aaaaaaaa_bbbb_cccc' }],
  ])('input %s is 401', async (_what, headers) => {
    const answer = await refused('/jobs', { headers }, null);
    expect([answer.status, answer.slug]).toEqual([401, 'unauthenticated']);
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
  });

  test('input 7: a key in the query is none, and is in no log', async () => {
    expect((await refused(`/jobs?api_key=${alice.key}`, {}, null)).status).toBe(401);
    expect(service.log.join('\n')).not.toContain(alice.key.slice(3));
  });

  test('input 8: two credentials are refused', async () => {
    expect((await refused('/jobs', { headers: { 'x-api-key': alice.key } })).status).toBe(400);
  });

  test.each([
    ['?tenantId=bob', '/tenantId'],
    ['?ownerId=bob', '/ownerId'],
  ])('input 29: %s is no parameter', async (query, pointer) => {
    const answer = await refused(`/jobs${query}`);
    expect([answer.status, answer.body.errors[0].pointer]).toEqual([400, pointer]);
  });

  test('input 30: a key that may only read submits nothing, and the scope is named', async () => {
    const answer = await refused('/jobs', json(demo({})), reader);
    expect([answer.status, answer.slug]).toEqual([403, 'insufficient-scope']);
    expect(answer.body.detail).toContain('jobs:write');
  });

  test.each(['//jobs', '/jobs/', '/JOBS', '/jobs;a=b', '/%6aobs', '/./jobs', '/jobs/x/../'])(
    'inputs 33 and 34: %s without a key shows nothing, nor does HEAD',
    async (path) => {
      expect([400, 401, 404]).toContain(
        (await raw(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).status,
      );
      expect([400, 401, 404]).toContain(
        (await raw(`HEAD ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).status,
      );
    },
  );
});

describe('bodies (feature 6)', () => {
  test.each([
    ['37 half a body', '{"type":"demo.wait"', 'malformed-request'],
    ['37 a byte order mark', '\uFEFF{"type":"demo.wait"}', 'malformed-request'],
    ['37 something after it', '{"type":"demo.wait"}x', 'malformed-request'],
    ['37 a number that is none', '{"type":"demo.wait","priority":NaN}', 'malformed-request'],
    [
      '41 depth 10,000',
      `{"type":"demo.wait","payload":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
      'malformed-request',
    ],
    ['42 __proto__', '{"type":"demo.wait","__proto__":{"isAdmin":true}}', 'validation-error'],
    [
      '42 __proto__ in the payload',
      '{"type":"demo.wait","payload":{"__proto__":{"isAdmin":true}}}',
      'validation-error',
    ],
    [
      '42 constructor.prototype',
      '{"type":"demo.wait","payload":{"constructor":{"prototype":{"a":1}}}}',
      'validation-error',
    ],
    ['45 an infinite number', '{"type":"demo.wait","priority":1e309}', 'validation-error'],
    ['48 a NUL', '{"type":"demo.wait","payload":{"result":"a\\u0000"}}', 'validation-error'],
    ['48 a NUL in a key', '{"type":"demo.wait","labels":{"a\\u0000":"b"}}', 'validation-error'],
    ['48 a NUL in a dedupeKey', '{"type":"demo.wait","dedupeKey":"a\\u0000"}', 'validation-error'],
    ['48 half a surrogate pair', '{"type":"demo.wait","payload":{"result":"\\ud800"}}', 'validation-error'],
  ])('input %s is 400', async (_what, body, slug) => {
    const answer = await refusedBody(body);
    expect([answer.status, answer.slug]).toEqual([400, slug]);
    expect(Object.hasOwn(Object.prototype, 'isAdmin')).toBe(false);
  });

  test.each([
    ['text/plain', '{}'],
    ['application/json; charset=utf-16', '{}'],
    ['application/xml', '<a/>'],
    ['', '{}'],
  ])('input 38: a body of the type "%s" is 415', async (type, body) => {
    const headers = type === '' ? { 'content-type': 'x' } : { 'content-type': type };
    expect((await refused('/jobs', { method: 'POST', body, headers })).status).toBe(415);
  });

  test('input 38: a body that is not UTF-8 is 400', async () => {
    const body = Buffer.from('{"type":"demo.wait","dedupeKey":"\xff"}', 'latin1');
    expect((await refused('/jobs', { ...json(''), body })).status).toBe(400);
  });

  test('input 39: a body of one byte too many is 413, with its length told or not', async () => {
    const large = JSON.stringify(demo({ payload: { result: 'x'.repeat(256 * 1024) } }));
    const told = await refusedBody(large.slice(0, 256 * 1024 + 1));
    expect([told.status, told.slug]).toEqual([413, 'payload-too-large']);
    const request = http.request(`${service.url}/jobs`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${alice.key}`,
        'content-type': 'application/json',
        'transfer-encoding': 'chunked',
      },
    });
    request.on('error', () => {});
    request.write(large);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    statuses.push(response.statusCode ?? 0);
    expect(response.statusCode).toBe(413);
    request.destroy();
  });

  test('input 40: a compressed body is 415, however much it would be', async () => {
    const body = gzipSync(Buffer.alloc(10_000_000, ' '));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    expect((await refused('/jobs', { method: 'POST', body, headers })).status).toBe(415);
  });

  test.each([
    ...['status', 'progress', 'tenantId', 'ownerId', 'id', 'createdAt'].map(
      (key): [string, object, string] => [`43 ${key}`, demo({ [key]: 'completed' }), `/${key}`],
    ),
    ['45 a priority as text', demo({ priority: '1' }), '/priority'],
    ['45 half a priority', demo({ priority: 1.5 }), '/priority'],
    ['45 a priority out of range', demo({ priority: -101 }), '/priority'],
    ['45 attempts below one', demo({ attempts: -1 }), '/attempts'],
    ['46 no tasks', demo({ tasks: [] }), '/tasks'],
    ['46 too many tasks', demo({ numTask: 10_001 }), '/numTask'],
    ['46 10,001 tasks one by one', demo({ tasks: Array.from({ length: 10_001 }, () => ({})) }), '/tasks'],
    ['49 a long name', demo({ dedupeKey: 'x'.repeat(200_000) }), '/dedupeKey'],
    ['59 a time that is none', demo({ runAt: '9999999-01-01' }), '/runAt'],
    ['62 a text made to take long', demo({ runAt: `${'1'.repeat(50_000)}!` }), '/runAt'],
    ['62 a type made to take long', { type: `${'a.'.repeat(50_000)}!` }, '/type'],
    ['62 a label made to take long', demo({ labels: { [`a${'-.'.repeat(20_000)}!`]: 'x' } }), undefined],
  ] as [string, object, string | undefined][])(
    'input %s is 400 that names its place',
    async (_what, body, pointer) => {
      const answer = await refusedBody(body);
      expect(answer.status).toBe(400);
      if (pointer !== undefined) expect(answer.body.errors[0].pointer).toBe(pointer);
      expect(JSON.stringify(answer.body).length).toBeLessThan(5000);
    },
  );

  test.each(['constructor', '__proto__', 'toString', 'no.such'])(
    'input 44: the type %s is unknown',
    async (type) => {
      const answer = await refusedBody({ type });
      expect([answer.status, answer.slug]).toEqual([400, 'unknown-job-type']);
    },
  );

  test.each(['', 'a b', 'x'.repeat(256), 'caf\u00e9'])(
    'input 50: the Idempotency-Key "%s" is refused',
    async (key) => {
      expect((await refusedBody(demo({}), { 'idempotency-key': key })).status).toBe(400);
    },
  );
});

describe('methods, queries and addresses', () => {
  test.each([
    ['PUT', '/jobs', 'GET, HEAD, POST'],
    ['PATCH', '/jobs/x', 'DELETE, GET, HEAD, PUT'],
    ['DELETE', '/jobs/x/cancel?a=1', 'POST'],
    ['OPTIONS', '/jobs', 'GET, HEAD, POST'],
    ['POST', '/health/live', 'GET, HEAD'],
  ])('input 52: %s %s is 405 that tells what is allowed', async (method, path, allow) => {
    const answer = await refused(path, { method });
    expect([answer.status, answer.slug, answer.headers.get('allow')]).toEqual([
      405,
      'method-not-allowed',
      allow,
    ]);
  });

  test('input 52: TRACE gives nothing back', async () => {
    const { status, text } = await raw(
      'TRACE /jobs HTTP/1.1\r\nHost: a\r\nX-Secret: 42\r\nConnection: close\r\n\r\n',
    );
    expect([404, 405]).toContain(status);
    expect(text).not.toContain('42');
  });

  test.each(['text/html', 'application/json;q=0', 'image/*'])(
    'input 53: Accept: %s is 406',
    async (accept) => {
      const answer = await refused('/jobs', { headers: { accept } });
      expect([answer.status, answer.slug]).toEqual([406, 'not-acceptable']);
      expect((await refused('/jobs', json(demo({}), { accept }))).status).toBe(406);
    },
  );

  test.each(['application/json', 'text/html, */*;q=0.1', 'application/problem+json'])(
    'input 53: Accept: %s is answered',
    async (accept) => {
      expect((await alice.send('GET', '/jobs', undefined, { accept })).status).toBe(200);
    },
  );

  test.each(['not-a-uuid', '1%00', 'x'.repeat(5000), "'%20OR%201=1--", '..%2f..%2fetc'])(
    'input 54: the id %s is that of no job',
    async (id) => {
      const answers = await Promise.all(
        ['', '/progress', '/events', '/tasks'].map((part) => refused(`/jobs/${id}${part}`)),
      );
      expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
    },
  );

  test.each([
    ['55', 'status[not]=x'],
    ['55', 'id[gt]='],
    ['55', 'status=completed&status=failed'],
    ['56', "status=' OR 1=1--"],
    ['56', 'sort=id;drop table jobs'],
    ['56', 'type=a%00'],
    ['57', 'limit=0'],
    ['57', 'limit=-1'],
    ['57', 'limit=1e9'],
    ['57', 'limit=abc'],
    ['57', 'limit=201'],
    ['57', 'limit=1&limit=2'],
    ['58', 'cursor=abc'],
    ['58', `cursor=${'x'.repeat(10_000)}`],
    ['58', 'cursor=WzE3OTU2MTI3OTc2MzcsIjAxYTIxMmRjLWVhYzMtNzU3YS04YTQzLTAwNjNjZmI4ZDNjYiJd'],
    ['59', 'from=9999999-01-01T00:00:00Z'],
    ['59', 'from=2027-01-01T00:00:00Z&to=2026-01-01T00:00:00Z'],
    ['62', `from=${'1'.repeat(10_000)}!`],
    ['62', `status=${','.repeat(10_000)}`],
  ])('input %s: %s is 400', async (_number, query) => {
    expect((await refused(`/jobs?${query}`)).status).toBe(400);
  });

  test.each([
    ['two lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
    ['a length and chunks', 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a folded header', 'X-A: a\r\n b: c\r\n\r\n'],
  ])('input 60: %s is 400, and the connection is closed', async (_what, rest) => {
    const { status, text } = await raw(
      `POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${rest}`,
    );
    expect([400, 401]).toContain(status);
    if (status === 400) expect(text).toContain('application/problem+json');
  });

  test('input 61: nothing that is sent makes a line of a log of its own', async () => {
    const forged = '%0d%0a{"level":60,"msg":"forged"}';
    await refused(`/jobs/${forged}`);
    await refused('/jobs', {
      headers: { 'x-request-id': '{"level":60,"msg":"forged"}', 'x-api-key': 'forged' },
    });
    expect(service.log.filter((line) => line.startsWith('{"level":60'))).toEqual([]);
    for (const line of service.log) expect(() => JSON.parse(line)).not.toThrow();
  });

  test('input 65: a request that comes too slowly is given up', async () => {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write('GET /jobs HTTP/1.1\r\nHost: a\r\nX-Slow: ');
    const slowly = setInterval(() => socket.write('a'), 200);
    const began = performance.now();
    const text = await readAll(socket);
    clearInterval(slowly);
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(performance.now() - began).toBeLessThan(6000);
  }, 15_000);
});

/** The id that a request gets which came with this one. */
const idOf = async (id?: string) =>
  (await refused('/nowhere', id === undefined ? {} : { headers: { 'x-request-id': id } })).headers.get(
    'x-request-id',
  );

describe('answers', () => {
  test('take over a sane X-Request-Id, and have one of their own else', async () => {
    expect(await idOf('trace-1.a:b')).toBe('trace-1.a:b');
    for (const id of [undefined, 'a b', 'x'.repeat(200), '<script>'])
      expect(await idOf(id)).toMatch(/^[0-9a-f-]{36}$/);
    expect((await alice.get('/jobs')).headers.get('x-request-id')).toBe('test');
  });

  test('input 97: a page of another origin may read nothing', async () => {
    const preflight = await fetch(`${service.url}/jobs`, {
      method: 'OPTIONS',
      headers: { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST' },
    });
    const read = await alice.send('GET', '/jobs', undefined, { origin: 'https://elsewhere.example' });
    for (const { headers } of [preflight, read]) {
      expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });

  test('input 97: a page of an origin that is named may, and of another one may not', async () => {
    const named = await startService(
      serviceEnvironment(database.url, testRedis(), {
        SERVICE_TYPE: 'api',
        CORS_ORIGINS: 'https://app.example.com',
        TRUST_PROXY: '10.0.0.0/8, ::1',
      }),
    );
    try {
      const allowed = async (origin: string, method: string) => {
        const asks = { origin, 'access-control-request-method': 'POST' };
        const { headers } = await fetch(`${named.url}/jobs`, { method, headers: asks });
        expect(headers.get('access-control-allow-credentials')).toBeNull();
        return headers.get('access-control-allow-origin');
      };
      for (const method of ['OPTIONS', 'GET']) {
        expect(await allowed('https://app.example.com', method)).toBe('https://app.example.com');
        expect(await allowed('https://app.example.com.evil.io', method)).toBeNull();
      }
    } finally {
      await named.stop();
    }
  }, 30_000);

  test.each(['/jobs', '/nowhere', '/jobs/x', '/jobs/%zz', '/health/live'])(
    'input 98: %s is answered with the headers that browsers heed',
    async (path) => {
      const { headers } = await fetch(`${service.url}${path}`);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
      expect(headers.get('strict-transport-security')).toMatch(/max-age=\d+/);
      expect(headers.get('x-powered-by')).toBeNull();
    },
  );

  test('input 35: a task worker has no routes but health and metrics', async () => {
    const worker = await startService(
      serviceEnvironment(database.url, testRedis(), { SERVICE_TYPE: 'task-worker' }),
    );
    try {
      const found = await Promise.all(
        ['/jobs', '/workers', '/openapi.json'].map((path) => fetch(`${worker.url}${path}`)),
      );
      expect(found.map(({ status }) => status)).toEqual([404, 404, 404]);
    } finally {
      await worker.stop();
    }
  }, 30_000);
});
