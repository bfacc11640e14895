import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { RedisConnection } from './redis-connection.js';
import { replaceWhenSilent } from './replace-when-silent.js';

const OPTIONS = { maxRetriesPerRequest: null, enableReadyCheck: false, disableClientInfo: true };

let server: Server | undefined;
const sockets: Socket[] = [];
const clients: RedisConnection[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.close();
});

/** Connects to something that answers every command with PONG, but its first connection only while `talks`. */
async function connected(talks: () => boolean): Promise<RedisConnection> {
  server = createServer((socket) => {
    const first = sockets.push(socket) === 1;
    socket.on('data', () => void ((first && !talks()) || socket.write('+PONG\r\n'))).on('error', () => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new RedisConnection((server.address() as AddressInfo).port, {
    ...OPTIONS,
    retryStrategy: () => 1,
  });
  client.on('error', () => {});
  clients.push(client);
  replaceWhenSilent(client, 10);
  await once(client, 'ready');
  return client;
}

const reconnecting = (client: RedisConnection) =>
  new Promise<void>((resolve) => client.once('reconnecting', () => resolve()));

test('a copy that is told to end between two tries to connect ends, and what waits for it is rejected', async () => {
  // Nobody listens there.
  const original = new RedisConnection(1, { ...OPTIONS, lazyConnect: true, retryStrategy: () => 60_000 });
  const copy = original.duplicate({ lazyConnect: false });
  clients.push(original, copy);
  copy.on('error', () => {});
  const waiting = copy.bzpopmin('key', 0).catch((error: Error) => error.message);
  await reconnecting(copy);
  const ended = once(copy, 'end');
  copy.disconnect();
  await ended;
  expect(await waiting).toBe('Connection is closed.');
});

test('what was not answered when the connection was lost is rejected with its end, however often it was tried again', async () => {
  const client = await connected(() => false);
  const waiting = client.bzpopmin('key', 0).catch((error: Error) => error.message);
  server?.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const _try of [1, 2, 3]) await reconnecting(client);
  client.disconnect();
  expect(await waiting).toBe('Connection is closed.');
});

test('a connection with nothing to say is kept as long as it answers', async () => {
  const client = await connected(() => true);
  await expect(client.get('key')).resolves.toBe('PONG');
  const socket = sockets[0]!;
  const before = socket.bytesRead;
  while (socket.bytesRead < before + 200) await once(socket, 'data');
  expect(sockets).toHaveLength(1);
});

test('a connection that answers nothing any more is replaced, and what waits for an answer is asked again', async () => {
  let talks = true;
  const client = await connected(() => talks);
  talks = false;
  await expect(client.get('key')).resolves.toBe('PONG');
  expect(sockets).toHaveLength(2);
});
