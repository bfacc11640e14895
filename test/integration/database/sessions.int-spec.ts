import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { JobType } from '@app/core';
import { findSessions } from '@app/platform/prisma/sessions.js';
import { freePort } from '../../../scripts/local/free-port.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { ALICE, startEngine } from '../../support/engine.js';

@JobType({ name: 'test.quick', payload: z.strictObject({}).prefault({}) })
class Quick {
  async run(): Promise<void> {}
}

// A pooler in front of the real Postgres, reduced to what it does with an option that it does not know.
let database: TestDatabase;
let pooler: Server;
const sockets = new Set<Socket>();

beforeAll(async () => {
  database = await createTestDatabase();
  const { hostname, port } = new URL(database.url);
  pooler = createServer((client) => {
    const server = connect(Number(port), hostname);
    for (const socket of [client, server]) sockets.add(socket.on('error', () => {}));
    client.once('data', (startup) => {
      if (startup.includes('enable_seqscan')) return void client.end(refusal());
      server.write(startup);
      client.pipe(server).pipe(client);
    });
  });
  await new Promise<void>((resolve) => pooler.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => pooler.close(resolve));
  await database?.drop();
});

/** An ErrorResponse of the protocol, in the words of PgBouncer. */
function refusal(): Buffer {
  const fields = Buffer.from('SFATAL\0C08P01\0Munsupported startup parameter in options: enable_seqscan\0\0');
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
const behindPooler = () => {
  const url = new URL(database.url);
  url.port = String((pooler.address() as { port: number }).port);
  return url.href;
};

describe('connections to Postgres', () => {
  test('that are sessions of their own have prepared statements, each text one name', async () => {
    const { connectionString, statementName } = await findSessions(database.url, 5000);
    expect(new URL(connectionString).searchParams.get('options')).toContain('enable_seqscan=off');
    const [one, other] = ['SELECT 1', 'SELECT 2'].map((sql) => statementName?.(sql));
    expect(one).toEqual(expect.any(String));
    expect(other).not.toBe(one);
    expect(statementName?.('SELECT 1')).toBe(one);
  });

  test('keep the options that they are given', async () => {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c search_path=public');
    const { connectionString } = await findSessions(url.href, 5000);
    expect(new URL(connectionString).searchParams.get('options')).toMatch(/^-c search_path=public -c /);
  });

  test('behind a pooler that refuses options are opened without any, and jobs run', async () => {
    const sessions = await findSessions(behindPooler(), 5000);
    expect(sessions).toEqual({ connectionString: behindPooler(), statementName: undefined });
    const engine = await startEngine({ databaseUrl: behindPooler(), redis: testRedis(), jobTypes: [Quick] });
    const { job } = await engine.jobs.submit({ type: 'test.quick' }, ALICE);
    expect((await engine.ended(job.jobId)).status).toBe('completed');
    await engine.stop();
  });

  test('that cannot be opened fail with the reason', async () => {
    const url = new URL(database.url);
    url.port = String(await freePort());
    await expect(findSessions(url.href, 5000)).rejects.toThrow(/ECONNREFUSED/);
  });
});
