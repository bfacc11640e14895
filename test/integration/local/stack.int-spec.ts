import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onDatabase } from '../../../scripts/db/database.js';
import { repositoryRoot } from '../../../scripts/local/paths.js';
import { runningPostgres } from '../../../scripts/local/postgres-data.js';
import { endChild, isAlive } from '../../../scripts/local/processes.js';
import { runningRedis } from '../../../scripts/local/redis.js';
import { startStack, type Stack, type StackOptions } from '../../../scripts/local/stack.js';
import { absentDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';

let dir: string;
let cleanUp: (() => Promise<unknown>)[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'longhaul-stack-'));
  cleanUp = [() => rm(dir, { recursive: true, force: true })];
});
afterEach(async () => {
  for (const step of cleanUp.toReversed()) await step();
});

async function start(more: Partial<StackOptions> = {}): Promise<Stack> {
  const stack = await startStack({ dir, durable: false, ...more });
  cleanUp.push(stack.stop);
  return stack;
}

/** The ids of the servers that run below the test's folder. */
const servers = async () => ({
  postgres: await runningPostgres(join(dir, 'servers/postgres')),
  redis: await runningRedis(join(dir, 'servers/redis')),
});
const none = { postgres: undefined, redis: undefined };
const jobs = async ({ databaseUrl }: Stack) =>
  (await onDatabase(databaseUrl, (client) => client.query('SELECT count(*)::int AS n FROM jobs'))).rows;
const lockFile = () => join(dir, 'stack.lock');

/** Starts a stack in a program of its own, and kills that program. */
async function killedOwner(): Promise<void> {
  const { NODE_OPTIONS: _options, ...env } = process.env;
  const script = 'test/integration/local/stack-owner.ts';
  const args = ['--import', '@swc-node/register/esm-register', script, dir];
  const owner = spawn(process.execPath, args, {
    cwd: repositoryRoot,
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cleanUp.push(() => endChild(owner, 'SIGKILL'));
  await Promise.race([once(owner.stdout, 'data'), once(owner, 'exit')]);
  await endChild(owner, 'SIGKILL');
}

describe('a stack', () => {
  it('is a migrated database and a Redis, one at a time on a folder, and ends whole', async () => {
    const stack = await start();
    expect(new URL(stack.databaseUrl).pathname).toBe('/longhaul');
    expect(await jobs(stack)).toEqual([{ n: 0 }]);
    const { postgres = 0, redis = 0 } = await servers();
    expect([await isAlive(postgres), await isAlive(redis)]).toEqual([true, true]);

    await expect(startStack({ dir, durable: false })).rejects.toThrow(
      `Another Longhaul (process ${process.pid}) runs on ${dir}: stop it first, or `,
    );
    expect(await servers()).toEqual({ postgres, redis });

    await Promise.all([stack.stop(), stack.stop()]);
    expect([await isAlive(postgres), await isAlive(redis)]).toEqual([false, false]);
    expect(await readdir(dir)).toEqual(['servers']);
  });

  it('starts nothing in place of what is given, but migrates it', async () => {
    const database = absentDatabase();
    cleanUp.push(database.drop);
    const given = { databaseUrl: database.url, redisUrl: testRedis().url };
    const [stack, twin] = await Promise.all([start({ given }), start({ given })]);
    expect(stack).toMatchObject(given);
    expect(twin).toMatchObject(given);
    expect(await jobs(stack)).toEqual([{ n: 0 }]);
    expect(await readdir(dir)).toEqual([]);
    await stack.stop();
    expect(await jobs(stack)).toEqual([{ n: 0 }]);
  });

  it('starts only what is missing', async () => {
    const database = absentDatabase();
    cleanUp.push(database.drop);
    const stack = await start({ given: { databaseUrl: database.url, redisUrl: '' } });
    expect(await servers()).toEqual({ postgres: undefined, redis: expect.any(Number) });
    await stack.stop();
    expect(await servers()).toEqual(none);
  });

  it('that cannot start a server ends the other, and gives the folder back', async () => {
    await mkdir(join(dir, 'servers'));
    await writeFile(join(dir, 'servers/redis'), 'a file where a folder should be');
    await expect(startStack({ dir, durable: false })).rejects.toThrow(/servers\/redis/);
    expect(existsSync(join(dir, 'servers/postgres/data/PG_VERSION'))).toBe(true);
    expect(await servers()).toEqual(none);
    expect(existsSync(lockFile())).toBe(false);
  });

  it('that cannot migrate ends both', async () => {
    const given = { databaseUrl: 'postgresql://a:hush@127.0.0.1:1/x' };
    await expect(startStack({ dir, durable: false, given })).rejects.toThrow(
      'The database cannot be reached (ECONNREFUSED).',
    );
    expect(await servers()).toEqual(none);
    expect(existsSync(lockFile())).toBe(false);
  });
});

describe('a stack whose owner was killed', () => {
  it('is taken over: its servers end, its data stay', async () => {
    await killedOwner();
    const { postgres = 0, redis = 0 } = await servers();
    expect([await isAlive(postgres), await isAlive(redis)]).toEqual([true, true]);

    // Of several that come for it, one gets it.
    const results = await Promise.allSettled([start(), start(), start()]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected', 'rejected']);
    expect([await isAlive(postgres), await isAlive(redis)]).toEqual([false, false]);
    const now = await servers();
    expect([now.postgres, now.redis]).not.toEqual([postgres, redis]);
    expect(JSON.parse(await readFile(lockFile(), 'utf8'))).toMatchObject({ pid: process.pid });
    expect((await readdir(dir)).toSorted()).toEqual(['servers', 'stack.lock']);
  });

  it.each([
    ['whose number another program has', JSON.stringify({ pid: process.pid, started: 'long ago' })],
    ['that nobody can read', '{'],
  ])('leaves a lock that does not count: %s', async (_case, lock) => {
    await writeFile(lockFile(), lock);
    const database = absentDatabase();
    cleanUp.push(database.drop);
    const stack = await start({ given: { databaseUrl: database.url } });
    await stack.stop();
    expect(existsSync(lockFile())).toBe(false);
  });
});
