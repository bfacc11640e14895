import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { Outbound } from '@app/platform/outbound/outbound.js';
import { collectGarbage } from '../../support/collect-garbage.js';
import { eventually } from '../../support/eventually.js';
import { NameServer } from '../../support/name-server.js';
import { WebhookReceiver } from '../../support/webhook-receiver.js';

let receiver: WebhookReceiver;
let names: NameServer;
/** Answers every call with these bytes, and then says no more. */
let raw: Server;
let bytes = '';

beforeAll(async () => {
  raw = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => (bytes === '' ? socket.end() : socket.write(bytes)));
  });
  raw.listen(0, '127.0.0.1');
  [receiver, names] = await Promise.all([
    WebhookReceiver.start(),
    NameServer.start(),
    once(raw, 'listening'),
  ]);
});
afterEach(() => {
  names.silent = false;
});
afterAll(async () => {
  raw.close();
  await Promise.all([receiver.stop(), names.stop()]);
});

const LONG = 3_600_000;
const never = new AbortController().signal;
const post = (url: string, timeoutMs = LONG, signal = never) =>
  new Outbound({
    WEBHOOK_ALLOWED_NETWORKS: ['127.0.0.1'],
    WEBHOOK_TIMEOUT: timeoutMs,
    WEBHOOK_DNS: [names.address],
  }).post(url, '{}', {}, signal);
const rawUrl = () => `http://127.0.0.1:${(raw.address() as AddressInfo).port}/`;

test('one that never answers is given up in time, however often garbage is collected meanwhile', async () => {
  receiver.answers.set('/never', () => {});
  const results: unknown[] = [];
  const call = post(receiver.url('/never'), 500).then((result) => results.push(result));
  await eventually(() => {
    collectGarbage();
    expect(results).toEqual([{ kind: 'failed', reason: 'timeout' }]);
  });
  await call;
});

test('a receiver that wants to switch protocols has answered so, and keeps nobody waiting', async () => {
  bytes = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n';
  expect(await post(rawUrl())).toEqual({ kind: 'answered', status: 101 });
});

test('one that closes without an answer has failed', async () => {
  bytes = '';
  expect(await post(rawUrl())).toEqual({ kind: 'failed', reason: 'econnreset' });
});

test('one whose answer ends with its connection has answered', async () => {
  receiver.answers.set('/until-closed', (_nth, reply) => {
    reply.removeHeader('content-length');
    reply.useChunkedEncodingByDefault = false;
    reply.writeHead(200, { connection: 'close' }).end('x'.repeat(1000));
  });
  expect(await post(receiver.url('/until-closed'))).toEqual({ kind: 'answered', status: 200 });
});

test('a name server that is silent is waited for no longer than for all of a call', async () => {
  names.silent = true;
  expect(await post('https://silent.example.com/', 20)).toEqual({ kind: 'failed', reason: 'timeout' });
});

test('a name server that is silent is waited for no longer than until the stop', async () => {
  names.silent = true;
  const stop = new AbortController();
  const asked = names.asked.length;
  const call = post('https://silent.example.com/', LONG, stop.signal);
  while (names.asked.length === asked) await new Promise(setImmediate);
  stop.abort();
  expect(await call).toEqual({ kind: 'failed', reason: 'timeout' });
});
