import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { fastify, type FastifyInstance } from 'fastify';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { OpenRequests } from './open-requests.js';

let server: FastifyInstance;
let url: string;
let finish = () => {};
let arrived: Promise<void>;
let arrive = () => {};

beforeEach(async () => {
  server = fastify({ forceCloseConnections: true });
  arrived = new Promise((resolve) => (arrive = resolve));
  server.get('/quick', (_request, reply) => reply.send('quick'));
  server.get('/slow', (_request, reply) => {
    arrive();
    finish = () => void reply.send('slow');
  });
});
afterEach(async () => {
  await server.close();
});

async function watched(SHUTDOWN_GRACE: string): Promise<OpenRequests> {
  const config = loadConfig({
    SERVICE_TYPE: 'api',
    DATABASE_URL: 'postgresql://localhost/none',
    REDIS_URL: 'redis://localhost',
    SHUTDOWN_GRACE,
  });
  const requests = new OpenRequests(config, createLogger('fatal'));
  requests.watch(server);
  url = await server.listen({ host: '127.0.0.1', port: 0 });
  return requests;
}

test('a stop waits until the last request is answered', async () => {
  const requests = await watched('20s');
  const slow = fetch(`${url}/slow`);
  await arrived;
  let waits = true;
  const stopped = requests.onModuleDestroy().then(() => (waits = false));
  // Another one that has been answered meanwhile is not the last.
  await (await fetch(`${url}/quick`)).text();
  expect(waits).toBe(true);
  finish();
  await stopped;
  expect(await (await slow).text()).toBe('slow');
});

test('a stop waits for no request whose client has gone, and for nothing when there is none', async () => {
  const requests = await watched('20s');
  await requests.onModuleDestroy();
  const leaving = new AbortController();
  const left = fetch(`${url}/slow`, { signal: leaving.signal }).catch(() => 'gone');
  await arrived;
  const stopped = requests.onModuleDestroy();
  leaving.abort();
  expect(await left).toBe('gone');
  await stopped;
  finish();
});

test('a request that never ends holds up a stop no longer than SHUTDOWN_GRACE', async () => {
  const requests = await watched('50ms');
  const slow = fetch(`${url}/slow`).catch(() => 'broken off');
  await arrived;
  await requests.onModuleDestroy();
  await server.close();
  expect(await slow).toBe('broken off');
  finish();
});
