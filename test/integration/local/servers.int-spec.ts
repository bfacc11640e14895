import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onDatabase } from '../../../scripts/db/database.js';
import { runningPostgres } from '../../../scripts/local/postgres-data.js';
import { startPostgres } from '../../../scripts/local/postgres.js';
import { isAlive, isOurs, startMark } from '../../../scripts/local/processes.js';
import { runningRedis, startRedis } from '../../../scripts/local/redis.js';
import type { LocalServer } from '../../../scripts/local/types.js';

let dir: string;
let started: LocalServer[];
beforeEach(async () => {
  // Made by root with mode 0700, this is also the folder that the user nobody cannot reach.
  dir = await mkdtemp(join(tmpdir(), 'longhaul-servers-'));
  started = [];
});
afterEach(async () => {
  await Promise.all(started.map((server) => server.stop()));
  await rm(dir, { recursive: true, force: true });
});

async function start(server: typeof startPostgres): Promise<LocalServer> {
  const running = await server({ dir, durable: false });
  started.push(running);
  return running;
}

const isRoot = process.getuid?.() === 0;
const userOf = async (pid: number) =>
  Number(/^Uid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]);

describe('the embedded Postgres', () => {
  it('runs once on a folder, is gone when it was stopped, and starts again whatever was left', async () => {
    const first = await start(startPostgres);
    expect(await runningPostgres(dir)).toBe(first.pid);
    await expect(startPostgres({ dir, durable: false })).rejects.toThrow(
      `A Postgres (process ${first.pid}) already runs on ${join(dir, 'data')}.`,
    );
    await onDatabase(first.url, (client) => client.query('CREATE TABLE kept AS SELECT 7 AS n'));
    await Promise.all([first.stop(), first.stop()]);
    expect(await isAlive(first.pid)).toBe(false);
    expect(existsSync(join(dir, 'data/postmaster.pid'))).toBe(false);

    // The number of a dead server, given to another program since then.
    await writeFile(join(dir, 'data/postmaster.pid'), `${process.pid}\n${join(dir, 'data')}\n`);
    expect(await runningPostgres(dir)).toBeUndefined();
    const second = await start(startPostgres);
    const { rows } = await onDatabase(second.url, (client) => client.query('SELECT n FROM kept'));
    expect(rows).toEqual([{ n: 7 }]);

    // Killed by somebody else, it leaves the number of a process that is no more.
    if (isRoot && process.platform === 'linux') expect(await userOf(second.pid)).not.toBe(0);
    process.kill(second.pid, 'SIGKILL');
    await second.stop();
    expect(existsSync(join(dir, 'data/postmaster.pid'))).toBe(true);
    expect((await start(startPostgres)).pid).not.toBe(second.pid);
  });
});

describe('the local Redis', () => {
  it('runs once on a folder and is gone when it was stopped', async () => {
    const first = await start(startRedis);
    if (isRoot && process.platform === 'linux') expect(await userOf(first.pid)).not.toBe(0);
    expect(await runningRedis(dir)).toBe(first.pid);
    await expect(startRedis({ dir, durable: false })).rejects.toThrow(
      `A Redis (process ${first.pid}) already runs on ${dir}.`,
    );
    await Promise.all([first.stop(), first.stop()]);
    expect(await isAlive(first.pid)).toBe(false);
    expect(await runningRedis(dir)).toBeUndefined();
    await writeFile(join(dir, 'redis.pid'), `${process.pid} ${first.port}\n`);
    expect(await runningRedis(dir)).toBeUndefined();
    await start(startRedis);
  });
});

describe('processes', () => {
  it('are told apart by more than their numbers', async () => {
    expect(await isOurs(process.pid, [])).toBe(true);
    expect(await isOurs(process.pid, ['no such mark'])).toBe(false);
    expect(await startMark(process.pid)).toBe(await startMark(process.pid));
    expect(await startMark(process.pid)).not.toBe(await startMark(1));
    // Larger than any id that a system gives.
    expect(await startMark(2 ** 30)).toBeUndefined();
  });
});
