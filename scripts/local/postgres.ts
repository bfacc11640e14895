import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { freePort } from './free-port.js';
import { makeFolder } from './make-folder.js';
import { postgresBinaries } from './postgres-binaries.js';
import { postgresPaths, prepareData } from './postgres-data.js';
import { endChild, hasEnded, remember } from './processes.js';
import { launcherFor, type Launcher } from './run-as.js';
import { LocalStackError, type LocalServer, type ServerOptions } from './types.js';

const startAttempts = 20;
const startPatience = 60_000;

/** Starts a real Postgres from the npm packages on a free port of 127.0.0.1. */
export async function startPostgres({
  dir: given,
  durable = true,
  log,
}: ServerOptions): Promise<LocalServer> {
  const dir = resolve(given);
  await makeFolder(dir);
  const binaries = await postgresBinaries();
  const as = await launcherFor([binaries.postgres, dir]);
  const password = await prepareData(dir, binaries, as, { durable, log });
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const url = `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
    const child = await launch(binaries.postgres, dir, port, durable, as);
    const failure = await untilReady(child, url);
    if (!failure && child.pid !== undefined) {
      log?.(`Postgres answers on port ${port}.`);
      let stopped: Promise<void> | undefined;
      // SIGINT is Postgres's "fast" shutdown: it ends the sessions instead of waiting for them.
      const stop = () => (stopped ??= endChild(child, 'SIGINT'));
      return { url, port, pid: child.pid, stop };
    }
    await endChild(child, 'SIGINT');
    const reason = await lastComplaint(dir);
    if (attempt >= startAttempts || !mayPass(reason)) {
      const { data, log: file } = postgresPaths(dir);
      throw new LocalStackError(
        `Postgres did not start: ${reason || failure} (more in ${file}; if its data is damaged, move ${data} away to begin with an empty database)`,
      );
    }
    await delay(250);
  }
}

async function launch(
  postgres: string,
  dir: string,
  port: number,
  durable: boolean,
  as: Launcher,
): Promise<ChildProcess> {
  const paths = postgresPaths(dir);
  const settings = { ...common, ...(durable ? {} : careless), port };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const [file, args] = as.command(postgres, ['-D', paths.data, ...flags]);
  const output = await open(paths.log, 'w', 0o600);
  try {
    // A group of its own: Ctrl-C in the terminal reaches us only, and we end the servers in order.
    const env = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };
    const stdio = ['ignore', output.fd, output.fd] as const;
    const options = { ...as.user, cwd: '/', env, detached: true, stdio: [...stdio] };
    const child = remember(spawn(file, args, options));
    child.on('error', () => {});
    return child;
  } finally {
    await output.close();
  }
}

const common = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: 200,
  shared_buffers: '64MB',
  max_wal_size: '512MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  jit: 'off',
};

/** For tests: what is written need not survive the machine. */
const careless = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: 0,
};

async function untilReady(child: ChildProcess, url: string): Promise<string | undefined> {
  const end = Date.now() + startPatience;
  while (!hasEnded(child)) {
    if (await answers(url)) return undefined;
    if (Date.now() > end) return 'it gave no answer in time.';
    await delay(25);
  }
  return 'its process ended.';
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

/** A lost race for the port, or backends of a killed server that have not noticed yet. */
function mayPass(reason: string): boolean {
  return /Address already in use|could not create any TCP\/IP sockets|still in use/.test(reason);
}

async function lastComplaint(dir: string): Promise<string> {
  const text = await readFile(postgresPaths(dir).log, 'utf8').catch(() => '');
  const lines = text.split('\n').filter((line) => /FATAL|PANIC|error while loading|setpriv/.test(line));
  return lines.at(-1)?.replace(/^.*?(FATAL|PANIC):\s*/, '') ?? '';
}
