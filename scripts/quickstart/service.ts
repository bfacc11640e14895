import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { boot } from '../../apps/service/src/boot.js';
import { portRefused } from '../local/free-port.js';
import { localFolder, repositoryRoot } from '../local/paths.js';
import { endChild, hasEnded } from '../local/processes.js';
import { LocalStackError, type Log } from '../local/types.js';

/** A service that answers. */
interface RunningService {
  url: string;
  stop(): Promise<void>;
}

const logFile = join(localFolder, 'service.log');
const PATIENCE_MS = 60_000;
const REGISTER = ['--import', '@swc-node/register/esm-register'];

/** The name of the log, as people see it. */
export const serviceLog = relative(process.cwd(), logFile) || logFile;

/** Starts the service: in this process, so that nothing outlives it, or under a watcher of its code. */
export async function startService(
  environment: Record<string, string>,
  watched: boolean,
  say: Log,
  signal: AbortSignal,
): Promise<RunningService> {
  const config = loadConfig(environment);
  await mkdir(localFolder, { recursive: true });
  if (watched) return startWatched(environment, say, signal);
  const output = pino.destination({ dest: logFile, append: false, sync: true });
  const logger = createLogger(config.LOG_LEVEL, { role: config.SERVICE_TYPE }, output);
  const url = `http://127.0.0.1:${config.PORT}`;
  const app = await boot(config, logger).catch((error: NodeJS.ErrnoException) => {
    throw error.syscall === 'listen' ? portRefused(config.PORT, error) : error;
  });
  logger.info({ url }, 'longhaul is up');
  const stop = async () => {
    logger.info('longhaul stops');
    await app.close();
    output.end();
  };
  return { url, stop };
}

async function startWatched(
  environment: Record<string, string>,
  say: Log,
  signal: AbortSignal,
): Promise<RunningService> {
  const output = await open(logFile, 'w');
  const watch = ['--watch', '--watch-preserve-output', '--watch-path=apps/service', '--watch-path=libs'];
  const child = spawn(process.execPath, [...watch, ...REGISTER, 'scripts/quickstart/watched-service.ts'], {
    cwd: repositoryRoot,
    env: { ...process.env, ...environment },
    // A group of its own: Ctrl-C reaches us only, and we end things in order.
    detached: true,
    // The system closes the pipe when we die, however we die.
    stdio: ['pipe', output.fd, output.fd],
  });
  await output.close();
  const url = `http://127.0.0.1:${environment['PORT']}`;
  const stop = () => endChild(child, 'SIGTERM', 15_000);
  try {
    await untilUp(url, child, signal);
  } catch (error) {
    await stop();
    throw error;
  }
  say('It starts again when the code in apps/service or libs changes.');
  return { url, stop };
}

async function untilUp(url: string, child: ChildProcess, signal: AbortSignal): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end && !hasEnded(child)) {
    const up = await fetch(`${url}/health/ready`, { signal }).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return;
    // The watcher lives on, and waits for a change that would mend it.
    if (/^Failed running/m.test(await readFile(logFile, 'utf8'))) break;
    await delay(100, undefined, { signal });
  }
  throw new LocalStackError(`The service did not start: ${serviceLog} tells why.`);
}
