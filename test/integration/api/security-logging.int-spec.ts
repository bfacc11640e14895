import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { onDatabase, onServer } from '../../../scripts/db/database.js';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

const run = randomBytes(6).toString('hex');
const canary = (door: string) => `canary-${door}-${run}`;
/** Secrets that came in by a door, and must be found nowhere else. */
const SECRETS = {
  database: canary('database'),
  catalog: canary('catalog'),
  payload: canary('payload'),
  query: canary('query'),
  path: canary('path'),
  header: canary('header'),
  body: canary('body'),
  jwt: `eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.${canary('jwt')}`,
  address: canary('address'),
};
const role = `canary_${run}`;

let database: TestDatabase;
let catalog: Server;
let service: TestService;
let [alice, bob, admin, reader]: ApiUser[] = [];
let redis: Redis;
let stopMonitor = () => {};
const commands: string[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  await onServer(database.url, (client) =>
    client.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${SECRETS.database}'`),
  );
  // Says no, and repeats what it was asked with.
  catalog = createServer((request, response) => {
    const told = `${request.headers.authorization} is not welcome at postgresql://u:${SECRETS.address}@db/x`;
    response.writeHead(request.method === 'GET' ? 404 : 422, { 'content-type': 'text/plain' }).end(told);
  }).listen(0, '127.0.0.1');
  await once(catalog, 'listening');
  const url = Object.assign(new URL(database.url), { username: role, password: SECRETS.database });
  const ours = testRedis();
  redis = new Redis(ours.url);
  // Not by the client: what comes together with the answer to MONITOR is no answer, and confuses it.
  const monitor = connect(Number(new URL(ours.url).port), '127.0.0.1');
  monitor.setEncoding('utf8').on('data', (text: string) => commands.push(text));
  monitor.write('MONITOR\r\n');
  await eventually(() => expect(commands.join('')).toContain('+OK'));
  service = await startService(
    serviceEnvironment(url.href, ours, {
      CATALOG_URL: `http://127.0.0.1:${(catalog.address() as AddressInfo).port}`,
      CATALOG_TOKEN: SECRETS.catalog,
      LOG_LEVEL: 'trace',
    }),
  );
  [alice, bob, admin, reader] = await Promise.all([
    apiUser(service, 'alice'),
    apiUser(service, 'bob'),
    apiUser(service, 'root', ['admin']),
    apiUser(service, 'alice', ['jobs:read']),
  ]);
  stopMonitor = () => monitor.destroy();
}, 60_000);
afterAll(async () => {
  await service?.stop();
  stopMonitor();
  redis?.disconnect();
  catalog?.close();
  await database?.drop();
  await onServer(database.url, (client) => client.query(`DROP ROLE IF EXISTS ${role}`));
});

const lines = () =>
  service.log.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []));
/** The line of the log that has these fields. */
const logged = (fields: Record<string, unknown>) =>
  eventually(() => {
    const found = lines().find((line) =>
      Object.entries(fields).every(([name, value]) => line[name] === value),
    );
    if (!found) throw new Error(`Not logged: ${JSON.stringify(fields)}`);
    return found;
  });

/** `table.column` of every place in the database where a text stands. */
const columnsWith = (text: string) =>
  onDatabase(database.url, async (client) => {
    const columns = await client.query<{ t: string; c: string }>(
      `SELECT table_name AS t, column_name AS c FROM information_schema.columns WHERE table_schema = 'public'`,
    );
    const found: string[] = [];
    for (const { t, c } of columns.rows) {
      const { rowCount } = await client.query(
        `SELECT 1 FROM "${t}" WHERE strpos("${c}"::text, $1) > 0 LIMIT 1`,
        [text],
      );
      if (rowCount) found.push(`${t}.${c}`);
    }
    return found.toSorted();
  });

/** What the service has answered, but for payloads: a job is shown to its owner as it was given. */
const answers: string[] = [];

/** Asks the service, keeps its answer and reads it. */
const ask = async (method: string, path: string, headers: Record<string, string>, body?: string) => {
  const response = await fetch(`${service.url}${path}`, { method, headers, ...(body ? { body } : {}) });
  expect(response.status).toBeLessThan(500);
  const text = await response.text();
  const shown = JSON.stringify(JSON.parse(text || 'null'), (name, value) => (name === 'payload' ? 0 : value));
  answers.push(JSON.stringify([...response.headers]), shown);
  return JSON.parse(text || 'null');
};

const actorOf = (user?: ApiUser) => `key:${user?.key.split('_')[1]}`;

describe('input 90: a secret that comes in by any door', () => {
  const secrets = { ...SECRETS, key: '', otherKey: '' };

  beforeAll(async () => {
    secrets.key = alice!.key.split('_')[2]!;
    const own = { authorization: `Bearer ${alice!.key}` };
    const json = { ...own, 'content-type': 'application/json' };

    // By credentials, right and wrong ones.
    await ask('GET', '/jobs', own);
    await ask('GET', '/jobs', { 'x-api-key': alice!.key });
    await ask('GET', '/jobs', { 'x-api-key': `${alice!.key}x` });
    await ask('GET', '/jobs', { ...own, 'x-api-key': alice!.key });
    await ask('GET', '/jobs', { authorization: `Bearer ${SECRETS.jwt}` });
    await ask('GET', '/jobs', { authorization: `Basic ${SECRETS.jwt}` });
    const made = await admin!.send('POST', '/api-keys', {
      ownerId: 'carl',
      name: 'x',
      scopes: ['jobs:read'],
    });
    secrets.otherKey = made.body.key.split('_')[2];
    await ask('GET', '/api-keys', { authorization: `Bearer ${admin!.key}` });

    // By addresses and headers.
    await ask('GET', `/jobs?api_key=${SECRETS.query}`, {});
    await ask('GET', `/jobs?cursor=${SECRETS.query}`, own);
    await ask('GET', `/jobs/${SECRETS.path}`, own);
    await ask('DELETE', `/api-keys/${SECRETS.path}`, { authorization: `Bearer ${admin!.key}` });
    await ask('GET', '/jobs', { ...own, cookie: SECRETS.header, 'user-agent': SECRETS.header });

    // By bodies that are refused.
    await ask('POST', '/jobs', json, JSON.stringify({ numTask: 1, attempts: SECRETS.body }));
    await ask('POST', '/jobs', json, JSON.stringify({ type: 'demo.wait', payload: { steps: SECRETS.body } }));
    await ask('POST', '/jobs', { ...own, 'content-type': `text/${SECRETS.header}` }, SECRETS.body);

    // By a payload and an error of a handler, and by what the Catalog says.
    const failing = {
      type: 'demo.wait',
      payload: {
        durationMs: 0,
        failAttempts: 9,
        result: { password: SECRETS.payload },
        throwValue: `No answer of postgresql://me:${SECRETS.address}@db/x with ${SECRETS.catalog}, ${SECRETS.database}`,
      },
      attempts: 1,
    };
    const told = { type: 'demo.wait', payload: { durationMs: 0 }, catalog: { name: 'x' } };
    for (const body of [failing, told]) {
      const { jobId } = await ask('POST', '/jobs', json, JSON.stringify(body));
      const job = await alice!.until(jobId, ['failed']);
      expect(job.error?.message).toMatch(/\[hidden\]/);
      for (const part of ['', '/progress', '/tasks', '/explain'])
        await ask('GET', `/jobs/${jobId}${part}`, own);
    }
    await logged({ route: '/jobs/:jobId/explain' });
  }, 60_000);

  test('is in no line of the log', async () => {
    const log = service.log.join('\n');
    for (const [door, secret] of Object.entries(secrets)) {
      expect({ door, leaked: service.log.filter((line) => line.includes(secret)) }).toEqual({
        door,
        leaked: [],
      });
    }
    expect(log).toContain('"route":"/jobs/:jobId"');
    expect(log).not.toContain(run);
  });

  test('is in no column of the database but those of payloads (input 93)', async () => {
    const places: Record<string, string[]> = {};
    for (const [door, secret] of Object.entries(secrets)) {
      const columns = await columnsWith(secret);
      if (columns.length > 0) places[door] = columns;
    }
    // The error that is to be thrown stands in a payload too.
    const payloads = ['jobs.payload'];
    const given = { database: payloads, catalog: payloads, payload: payloads, address: payloads };
    for (const [door, columns] of Object.entries(places)) {
      expect({ door, columns: columns.filter((column) => column !== 'task_inputs.payload') }).toEqual({
        door,
        columns: given[door as keyof typeof given] ?? [],
      });
    }
    expect(Object.keys(places).toSorted()).toEqual(Object.keys(given).toSorted());
  });

  test('is in nothing that was sent to Redis', () => {
    const sent = commands.join('');
    expect(sent.split('\n').length).toBeGreaterThan(20);
    expect(Object.entries(secrets).filter(([, secret]) => sent.includes(secret))).toEqual([]);
  });

  test('is in no answer and no measurement', async () => {
    answers.push(await (await fetch(`${service.url}/metrics`)).text());
    answers.push(await (await fetch(`${service.url}/health/ready`)).text());
    for (const [door, secret] of Object.entries(secrets)) {
      expect({ door, leaked: answers.filter((answer) => answer.includes(secret)) }).toEqual({
        door,
        leaked: [],
      });
    }
  });
});

describe('the log', () => {
  const long = { type: 'demo.wait', payload: { durationMs: 60_000 } };

  test('has a line for a request, with the id that its answer has', async () => {
    const { jobId } = await alice!.submit(long);
    const requestId = `status-of-${jobId}`;
    const named = { 'x-request-id': requestId };
    const { headers } = await alice!.send('GET', `/jobs/${jobId}/status`, undefined, named);
    expect(headers.get('x-request-id')).toBe(requestId);
    expect(await logged({ requestId })).toEqual({
      level: 'info',
      time: expect.any(String),
      pid: service.process.pid,
      role: 'all',
      requestId,
      method: 'GET',
      route: '/jobs/:jobId/status',
      status: 200,
      ownerId: 'alice',
      actor: `key:${alice!.key.split('_')[1]}`,
      jobId,
      durationMs: expect.any(Number),
      msg: 'a request was answered',
    });
    expect(await logged({ jobId, route: '/jobs', status: 201 })).toMatchObject({ ownerId: 'alice' });
    await alice!.send('DELETE', `/jobs/${jobId}`);
  });

  test('input 61: an address, a header and a name that hold a line of a log forge none', async () => {
    const forged = '{"level":"fatal","msg":"forged"}';
    const path = encodeURIComponent(`x\r\n${forged}\r\n`);
    for (const address of [`/jobs/${path}`, `/${path}`, `/pauses/types/${path}`]) {
      const { status } = await admin!.send('GET', address, undefined, { 'user-agent': forged });
      expect([404, 405]).toContain(status);
    }
    await alice!.send('POST', '/jobs', { type: `x\r\n${forged}` });
    const { headers } = await alice!.get('/jobs?limit=1');
    await logged({ requestId: headers.get('x-request-id') });
    expect(service.log.filter((line) => line.includes('forged'))).toEqual([]);
    expect(service.log.every((line) => line.startsWith('{"level":'))).toBe(true);
  });

  test('tells who changed what, and who was denied', async () => {
    const [canceled, refused] = [await alice!.submit(long), await alice!.submit(long)];
    await alice!.until(canceled.jobId, ['active']);
    await alice!.send('POST', `/jobs/${canceled.jobId}/cancel`, { reason: SECRETS.body });
    await alice!.send('POST', `/jobs/${canceled.jobId}/retry`);
    await bob!.send('DELETE', `/jobs/${refused.jobId}`);
    await admin!.send('POST', `/jobs/${refused.jobId}/resolve`, { status: 'failed', reason: 'x' });
    await admin!.send('PUT', '/pauses/types/demo.wait', { reason: 'x' });
    await admin!.send('DELETE', '/pauses/types/demo.wait');
    const made = await admin!.send('POST', '/api-keys', { ownerId: 'carl', name: 'x', scopes: ['admin'] });
    const { keyId } = made.body;
    await admin!.send('DELETE', `/api-keys/${keyId}`);
    await reader!.send('DELETE', `/jobs/${canceled.jobId}`);
    await fetch(`${service.url}/jobs/${canceled.jobId}`);

    const [hers, his, theirs] = [actorOf(alice), actorOf(bob), actorOf(admin)];
    const told = [
      { audit: 'job.cancel', actor: hers, jobId: canceled.jobId, status: 200 },
      { audit: 'job.retry', actor: hers, jobId: canceled.jobId },
      { audit: 'job.cancel', actor: his, jobId: refused.jobId, status: 404 },
      { audit: 'job.resolve', actor: theirs, jobId: refused.jobId, status: 409 },
      { audit: 'type.pause', actor: theirs, name: 'demo.wait', status: 200 },
      { audit: 'type.resume', actor: theirs, name: 'demo.wait', status: 200 },
      { audit: 'api-key.create', actor: theirs, keyId, status: 201 },
      { audit: 'api-key.revoke', actor: theirs, keyId, status: 200 },
      {
        audit: 'access.denied',
        actor: actorOf(reader),
        ownerId: 'alice',
        jobId: canceled.jobId,
        status: 403,
      },
      { audit: 'access.denied', actor: undefined, jobId: canceled.jobId, status: 401 },
    ];
    for (const line of told) expect(await logged(line)).toMatchObject({ ip: '127.0.0.1', msg: 'audit' });
    // What somebody gave as a reason is kept with the job, and is not for the log.
    expect(service.log.join()).not.toContain(SECRETS.body);
    for (const { jobId } of [canceled, refused]) await alice!.send('DELETE', `/jobs/${jobId}`);
  });
});
