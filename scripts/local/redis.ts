import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './free-port.js';
import { makeFolder } from './make-folder.js';
import { endChild, hasEnded, isOurs, remember } from './processes.js';
import { redisBinary, type RedisBinary } from './redis-binary.js';
import { assertOwned, launcherFor } from './run-as.js';
import { LocalStackError, type LocalServer, type ServerOptions } from './types.js';

const startAttempts = 5;
const startPatience = 30_000;

/** Starts a real Redis (or Valkey) on a free port of 127.0.0.1, with the eviction policy that BullMQ asks for. */
export async function startRedis({
  dir: given,
  durable = true,
  log,
  signal,
}: ServerOptions): Promise<LocalServer> {
  const dir = resolve(given);
  await makeFolder(redisPaths(dir).data);
  const running = await runningRedis(dir);
  if (running) throw new LocalStackError(`A Redis (process ${running}) already runs on ${dir}.`);
  const binary = await redisBinary(log, signal);
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const child = await launch(binary, dir, port, durable);
    const failure = await untilReady(child, port);
    if (!failure && child.pid !== undefined) {
      log?.(`Redis answers on port ${port}.`);
      let stopped: Promise<void> | undefined;
      const stop = () => (stopped ??= endChild(child, 'SIGTERM'));
      return { url: `redis://127.0.0.1:${port}`, port, pid: child.pid, stop };
    }
    await endChild(child, 'SIGTERM');
    const output = await readFile(redisPaths(dir).log, 'utf8').catch(() => '');
    if (attempt >= startAttempts || !/Address already in use/.test(output)) {
      const paths = redisPaths(dir);
      throw new LocalStackError(
        `Redis did not start: ${lastComplaint(output) || failure} (more in ${paths.log}; if its data is damaged, move ${paths.data} away to begin anew)`,
      );
    }
  }
}

/** The id of the server that runs on this folder, if one does. */
export async function runningRedis(dir: string): Promise<number | undefined> {
  const paths = redisPaths(dir);
  const pid = Number.parseInt(await readFile(paths.pid, 'utf8').catch(() => ''), 10);
  // Redis writes its own title (program, address, port); the port is in the pid file beside the id.
  const port = (await readFile(paths.pid, 'utf8').catch(() => '')).split(' ')[1]?.trim();
  return pid > 0 && port && (await isOurs(pid, ['-server', `:${port}`])) ? pid : undefined;
}

function redisPaths(dir: string) {
  return { data: join(dir, 'data'), log: join(dir, 'redis.log'), pid: join(dir, 'redis.pid') };
}

async function launch(
  binary: RedisBinary,
  dir: string,
  port: number,
  durable: boolean,
): Promise<ChildProcess> {
  const paths = redisPaths(dir);
  const as = await launcherFor([binary.file, paths.data]);
  await assertOwned(paths.data, as);
  await as.own(paths.data);
  const saving = durable ? ['--save', '60 1', '--appendonly', 'yes'] : ['--save', '', '--appendonly', 'no'];
  const fixed = ['--bind', '127.0.0.1', '--protected-mode', 'yes', '--maxmemory-policy', 'noeviction'];
  const where = ['--port', String(port), '--dir', paths.data, '--daemonize', 'no'];
  const [file, args] = as.command(binary.file, [...where, ...fixed, ...saving]);
  const output = await open(paths.log, 'w', 0o600);
  try {
    const libraries = binary.libraries ? { LD_LIBRARY_PATH: binary.libraries } : {};
    const env = { PATH: process.env['PATH'], LC_ALL: 'C', ...libraries };
    // A group of its own: Ctrl-C in the terminal reaches us only, and we end the servers in order.
    const child = spawn(file, args, {
      ...as.user,
      cwd: '/',
      env,
      detached: true,
      stdio: ['ignore', output.fd, output.fd],
    });
    remember(child).on('error', () => {});
    if (child.pid) await writeFile(paths.pid, `${child.pid} ${port}\n`);
    return child;
  } finally {
    await output.close();
  }
}

/** The last line that Redis has logged, without its process and time. */
function lastComplaint(output: string): string {
  return (output.trim().split('\n').at(-1) ?? '').replace(/^\d+:\w .*? [.\-*#] /, '');
}

async function untilReady(child: ChildProcess, port: number): Promise<string | undefined> {
  const end = Date.now() + startPatience;
  while (!hasEnded(child)) {
    if (await isReady(port, child.pid)) return undefined;
    if (Date.now() > end) return 'it gave no answer in time.';
    await delay(15);
  }
  return 'its process ended.';
}

/** Whether this very process serves the port: between choosing a port and binding it another program may win. */
function isReady(port: number, pid = 0): Promise<boolean> {
  return new Promise((done) => {
    let answer = '';
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write('PING\r\nINFO server\r\n'));
    const finish = (ready: boolean) => {
      socket.destroy();
      done(ready);
    };
    socket.setTimeout(2_000, () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('end', () => finish(false));
    socket.on('data', (data) => {
      answer += data.toString();
      if (answer.startsWith('-')) finish(false);
      if (answer.startsWith('+PONG') && answer.includes(`process_id:${pid}\r\n`)) finish(true);
    });
  });
}
