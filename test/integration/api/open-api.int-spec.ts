import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { discoverJobTypes } from '@app/engine/registry/discover-job-types.js';
import { ServiceModule } from '../../../apps/service/src/service.module.js';
import { KnownRoutes } from '../../../apps/service/src/api/problems/known-routes.js';
import { type ApiAnswer, type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

// Every route is asked in many ways.
jest.setTimeout(120_000);

interface Operation {
  security?: object[];
  parameters?: { name: string; in: string }[];
  requestBody?: {
    required: boolean;
    content: Record<string, { schema: { properties: object }; examples?: Record<string, { value: object }> }>;
  };
  responses: Record<string, { content?: Record<string, unknown>; headers: object }>;
}

let database: TestDatabase;
let redis: ReturnType<typeof testRedis>;
let service: TestService;
let alice: ApiUser;
let admin: ApiUser;
let document: {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown> };
};
let operations: [name: string, operation: Operation][];

beforeAll(async () => {
  database = await createTestDatabase();
  redis = testRedis();
  service = await startService(serviceEnvironment(database.url, redis));
  [alice, admin] = await Promise.all([apiUser(service, 'alice'), apiUser(service, 'alice', ['admin'])]);
  document = (await admin.get('/openapi.json')).body;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method} ${path}`,
      operation,
    ]),
  );
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const NOWHERE = '019a0000-0000-7000-8000-000000000000';
const later = { type: 'demo.wait', runAt: '2099-01-01T00:00:00Z' };

/** Sends an operation, with something for its parameters of the path. */
async function send(
  name: string,
  body?: unknown,
  headers?: Record<string, string>,
  query = '',
  id = NOWHERE,
) {
  const [method = '', path = ''] = name.split(' ');
  const address = path
    .replace(/\{(jobId|scheduleId|webhookId)\}/, id)
    .replace('{deliveryId}', NOWHERE)
    .replace('{name}', 'demo.wait');
  return admin.send(method.toUpperCase(), `${address}${query}`, body, headers);
}

const guarded = () => operations.filter(([name]) => !/health|metrics/.test(name));

describe('the document of the API (feature 5)', () => {
  test('is OpenAPI 3.1, without what only 3.0 has', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(JSON.stringify(document).match(/"nullable"|__schema|"enum":\[null\]|"allOf"/)).toBeNull();
    expect(Object.keys(document.components.schemas)).toEqual(
      expect.arrayContaining(['Job', 'Task', 'JobEvent', 'Problem']),
    );
    for (const [name, { security }] of operations) {
      expect([name, security?.length]).toEqual([name, /health|metrics/.test(name) ? 0 : 2]);
    }
    const ids = operations.map(
      ([, operation]) => (operation as unknown as { operationId: string }).operationId,
    );
    expect(new Set(ids).size).toBe(operations.length);
  });

  test('has the routes that are served, and no others', async () => {
    const environment = serviceEnvironment(database.url, redis, { SERVICE_TYPE: 'api', LOG_LEVEL: 'silent' });
    const jobTypes = await discoverJobTypes(new URL('../../../apps/service/src/job-types/', import.meta.url));
    const module = ServiceModule.forRoot(loadConfig(environment), createLogger('silent'), jobTypes);
    const app = await NestFactory.create<NestFastifyApplication>(module, new FastifyAdapter(), {
      logger: false,
    });
    try {
      app.get(KnownRoutes).watch(app.getHttpAdapter().getInstance());
      await app.init();
      const served = app
        .get(KnownRoutes)
        .all.filter((route) => !/^(HEAD|OPTIONS) | \/(docs|openapi)/.test(route))
        .map((route) => route.replace(/^\w+/, (method) => method.toLowerCase()).replace(/:(\w+)/g, '{$1}'));
      expect(served.toSorted()).toEqual(operations.map(([name]) => name).toSorted());
    } finally {
      await app.close();
    }
  });

  test('has the parameters that are taken, and no others', async () => {
    for (const [name, { parameters = [] }] of guarded()) {
      const named = parameters
        // A ticket beside a credential is refused before anything is read.
        .filter((parameter) => parameter.in === 'query' && parameter.name !== 'ticket')
        .map((parameter) => parameter.name);
      const body = /^(post|put|patch)/.test(name) ? {} : undefined;
      const pointers = async (keys: string[]) => {
        const query = keys.map((key) => `${encodeURIComponent(key)}=${encodeURIComponent(',')}`).join('&');
        const answer = await send(name, body, {}, `?${query}`);
        expect([name, answer.status]).toEqual([name, 400]);
        return answer.body.errors
          .filter(({ message }: { message: string }) => message === 'There is no such parameter.')
          .map(({ pointer }: { pointer: string }) => pointer);
      };
      expect([name, await pointers(['zzz'])]).toEqual([name, ['/zzz']]);
      if (named.length > 0) expect([name, await pointers(named)]).toEqual([name, []]);
    }
  });

  test('has the fields of bodies that are taken, and no others', async () => {
    const withBody = operations.filter(([, { requestBody }]) => requestBody);
    expect(withBody.length).toBeGreaterThanOrEqual(6);
    for (const [name, { requestBody }] of withBody) {
      const { schema } = requestBody!.content['application/json']!;
      const fields = [...Object.keys(schema.properties), 'zzz'];
      const { status, body } = await send(
        name,
        Object.fromEntries(fields.map((field) => [field, { wrong: [] }])),
      );
      expect([name, status]).toEqual([name, 400]);
      // Of a field that is an object itself only what is said of its own place.
      const unknown = body.errors
        .filter(({ message }: { message: string }) => message === 'There is no such field.')
        .map(({ pointer }: { pointer: string }) => pointer)
        .filter((pointer: string) => pointer.lastIndexOf('/') === 0);
      expect([name, unknown]).toEqual([name, ['/zzz']]);
      // Nothing at all is taken where the document says so.
      const bare = (await send(name)).body;
      expect([name, bare.errors?.[0]?.message === 'Send a JSON object.']).toEqual([
        name,
        requestBody!.required,
      ]);
    }
    for (const [name] of guarded().filter(
      ([name, { requestBody }]) => !requestBody && !name.startsWith('get'),
    )) {
      expect([name, (await send(name, { zzz: 1 })).status]).toEqual([name, 400]);
    }
  });

  test('has every status that is answered, as a problem where it is one', async () => {
    for (const [name, { responses }] of guarded()) {
      const answers: ApiAnswer[] = [
        await send(name, undefined, { authorization: '' }),
        await send(name, undefined, { accept: 'text/html' }),
        await send(name, undefined, {}, '?zzz=1'),
        await send(name, undefined),
      ];
      if (!name.startsWith('get')) {
        answers.push(
          await send(name, 'x', { 'content-type': 'text/plain' }),
          await send(name, '{', { 'content-type': 'application/json' }),
          await send(name, JSON.stringify({ a: 'x'.repeat(300_000) })),
        );
      }
      for (const { status, headers } of answers) {
        expect([name, Object.keys(responses)]).toEqual([name, expect.arrayContaining([String(status)])]);
        const [media] = headers.get('content-type')?.split(';') ?? [];
        expect([name, status, Object.keys(responses[status]?.content ?? {})]).toEqual([
          name,
          status,
          [media],
        ]);
        expect(Object.keys(responses[status]?.headers ?? {})).toContain('X-Request-Id');
      }
    }
  });

  test('has the headers that tell of an answer where they are sent, and nowhere else', async () => {
    const named = (header: string) =>
      operations.flatMap(([name, { responses }]) =>
        Object.entries(responses).flatMap(([status, { headers }]) =>
          header in headers ? [`${name} ${status}`] : [],
        ),
      );
    const located: string[] = [];
    // The trial call of a webhook would be one.
    const making = operations.filter(([name, { responses }]) => responses['201'] && !name.endsWith('/test'));
    for (const [name, { requestBody }] of making) {
      const [example] = Object.values(requestBody?.content['application/json']?.examples ?? {});
      const { status, headers } = await send(name, example?.value, {}, '', await targetOf(name));
      expect([name, status]).toEqual([name, 201]);
      const address = headers.get('location');
      if (address === null) continue;
      located.push(`${name} 201`);
      await admin.send('DELETE', address);
    }
    expect(named('Location').toSorted()).toEqual(located.toSorted());
    expect(named('Idempotency-Replayed')).toEqual(['post /jobs 201']);
  });

  test('has examples that are accepted as they stand', async () => {
    const sent: string[] = [];
    for (const [name, { requestBody }] of operations) {
      for (const [title, { value }] of Object.entries(
        requestBody?.content['application/json']?.examples ?? {},
      )) {
        const { status, body } = await send(name, value, {}, '', await targetOf(name));
        sent.push(name);
        // Nobody is to be called when jobs of this test end.
        if (name === 'post /webhooks') await admin.send('DELETE', `/webhooks/${body.webhookId}`);
        // No job type of this service has a tag, which is found out after the body is checked.
        if (name.includes('/tags/')) expect(status).toBe(404);
        if (name.includes('/tags/')) continue;
        expect([name, title, body.detail?.slice?.(0, 200) ?? null, status]).toEqual([
          name,
          title,
          null,
          ['post /jobs', 'post /schedules', 'post /api-keys', 'post /webhooks'].includes(name) ? 201 : 200,
        ]);
      }
    }
    await admin.send('DELETE', '/pauses/types/demo.wait');
    expect(new Set(sent)).toEqual(
      new Set(operations.filter(([, { requestBody }]) => requestBody).map(([name]) => name)),
    );
  });
});

/** A job, a schedule or a webhook on which the example of an operation can be tried. */
async function targetOf(name: string): Promise<string> {
  if (name.includes('{scheduleId}')) {
    const body = { name: randomUUID(), every: '1h', job: { numTask: 1 } };
    return (await admin.send('POST', '/schedules', body)).body.scheduleId;
  }
  if (name.includes('/webhooks/')) {
    const hook = { url: 'https://1.1.1.1', types: ['files.ingest'] };
    return (await admin.send('POST', '/webhooks', hook)).body.webhookId;
  }
  if (!name.endsWith('/resolve')) return (await alice.submit(later)).jobId;
  // The Catalog is not there, so that it stays in finalization.
  const { jobId } = await alice.submit({
    type: 'demo.wait',
    payload: { durationMs: 1 },
    catalog: { name: 'x' },
  });
  await alice.until(jobId, ['finalizing']);
  return jobId;
}

describe('the ETag of a job', () => {
  test('gives 304 until the job or its receipt changes', async () => {
    const { jobId } = await alice.submit(later);
    for (const part of ['', '/progress', '/status']) {
      const path = `/jobs/${jobId}${part}`;
      const first = await alice.get(path);
      const tag = first.headers.get('etag') ?? '';
      expect(tag).toMatch(/^"[\w.-]+"$/);
      for (const known of [tag, `W/${tag}`, `"other", ${tag}`, '*']) {
        const again = await fetch(`${service.url}${path}`, {
          headers: { authorization: `Bearer ${alice.key}`, 'if-none-match': known },
        });
        expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', tag]);
      }
      const other = await alice.send('GET', path, undefined, { 'if-none-match': '"other"' });
      expect([other.status, other.body]).toEqual([200, first.body]);
    }
    const before = (await alice.get(`/jobs/${jobId}`)).headers.get('etag') ?? '';
    await alice.send('DELETE', `/jobs/${jobId}`);
    const after = await alice.send('GET', `/jobs/${jobId}`, undefined, { 'if-none-match': before });
    expect([after.status, after.body.status]).toEqual([200, 'canceled']);
  });

  test('changes with the receipt of a cancel, which is no version of the job', async () => {
    const { jobId } = await alice.submit({
      type: 'demo.wait',
      payload: { durationMs: 60_000, ignoreSignal: false },
    });
    await alice.until(jobId, ['active']);
    const tags = new Set<string | null>();
    await alice.send('DELETE', `/jobs/${jobId}`);
    await eventually(async () => {
      const { headers, body } = await alice.get(`/jobs/${jobId}`);
      tags.add(`${body.cancelReceipt.state} ${headers.get('etag')}`);
      expect(body.cancelReceipt.state).toBe('stopped');
    });
    expect(new Set([...tags].map((line) => line?.split(' ')[1])).size).toBe(tags.size);
  });
});
