import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A service in a process of its own. */
export interface TestService {
  url: string;
  databaseUrl: string;
  process: ChildProcess;
  /** What it has logged so far. */
  log: string[];
  /** Ends it by a signal and waits; answers its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/**
 * The settings of a service in a test: short intervals, a port of its own, and a lease that a process keeps which stands
 * still for some seconds. Who waits for the end of one gives a shorter one.
 */
export function serviceEnvironment(
  databaseUrl: string,
  redis: { url: string; prefix: string },
  more: Record<string, string> = {},
): Record<string, string> {
  return {
    SERVICE_TYPE: 'all',
    HOST: '127.0.0.1',
    PORT: '0',
    DATABASE_URL: databaseUrl,
    REDIS_URL: redis.url,
    REDIS_PREFIX: redis.prefix,
    CATALOG_URL: 'http://127.0.0.1:9',
    MAX_CONCURRENT_TASKS: '4',
    LEASE: '6s',
    SWEEP_INTERVAL: '50ms',
    SYNC_CRON: '* * * * * *',
    SHUTDOWN_GRACE: '4s',
    LOG_LEVEL: 'info',
    ...more,
  };
}

const LOADER = ['--import', '@swc-node/register/esm-register'];

/** The arguments that run a source file: as it was compiled for this run of Jest, or else compiled while it starts. */
function compiled(file: string): string[] {
  // Compiled while it starts, a service takes the processor for twice as long.
  const folder = process.env['LONGHAUL_TEST_COMPILED'];
  return folder ? ['--enable-source-maps', join(folder, file.replace(/\.ts$/, '.js'))] : [...LOADER, file];
}

/** The command of the service: the sources, what `npm run build` has made of them, or only a list of its routes. */
export const SERVICE = {
  source: compiled('apps/service/src/main.ts'),
  routes: compiled('test/support/routes-main.ts'),
  built: ['dist/apps/service/src/main.js'],
};

/** Starts a process of the service with only these settings. */
export function spawnService(environment: Record<string, string>, code: keyof typeof SERVICE): ChildProcess {
  // Jest's own flags must not reach it, and neither must settings of whoever runs the tests.
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment };
  return spawn(process.execPath, SERVICE[code], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Starts a service and waits until it is up. */
export async function startService(
  environment: Record<string, string>,
  code: keyof typeof SERVICE = 'source',
): Promise<TestService> {
  const child = spawnService(environment, code);
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const log: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    const read = (line: string) => {
      log.push(line);
      const up = /"url":"(http:[^"]+)","msg":"longhaul is up"/.exec(line);
      if (up?.[1]) resolve(up[1]);
    };
    for (const output of [child.stdout, child.stderr])
      if (output) createInterface({ input: output }).on('line', read);
    child.once('exit', () => reject(new Error(`The service ended before it was up:\n${log.join('\n')}`)));
  });
  return {
    url,
    databaseUrl: environment['DATABASE_URL'] ?? '',
    process: child,
    log,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return (await exited)[0];
    },
  };
}
