import { type ChildProcess, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { boot } from '../../apps/service/src/boot.js';
import { localFolder, repositoryRoot } from '../local/paths.js';
import { endChild } from '../local/processes.js';
import { LocalStackError } from '../local/types.js';

/** A service that answers. */
interface RunningService {
  url: string;
  stop(): Promise<void>;
}

const logFile = join(localFolder, 'service.log');
const START_MS = 60_000;

/** Starts the service: in this process, so that nothing outlives it, or under a watcher of its code. */
export function startService(environment: Record<string, string>, watched: boolean): Promise<RunningService> {
  return watched ? startWatched(environment) : startHere(environment);
}

async function startHere(environment: Record<string, string>): Promise<RunningService> {
  const config = loadConfig(environment);
  const output = pino.destination({ dest: logFile, append: false, mkdir: true, sync: true });
  const app = await boot(config, createLogger(config.LOG_LEVEL, { role: config.SERVICE_TYPE }, output));
  return {
    url: `http://127.0.0.1:${config.PORT}`,
    stop: async () => {
      await app.close();
      output.end();
    },
  };
}

async function startWatched(environment: Record<string, string>): Promise<RunningService> {
  const output = await open(logFile, 'w');
  const watch = ['--watch', '--watch-preserve-output', '--watch-path=apps/service', '--watch-path=libs'];
  const child = spawn(
    process.execPath,
    [...watch, '--import', '@swc-node/register/esm-register', 'apps/service/src/main.ts'],
    {
      cwd: repositoryRoot,
      env: { ...process.env, ...environment },
      // A group of its own: Ctrl-C reaches us only, and we end things in order.
      detached: true,
      stdio: ['ignore', output.fd, output.fd],
    },
  );
  await output.close();
  const url = `http://127.0.0.1:${environment['PORT']}`;
  await untilUp(url, child);
  return { url, stop: () => endChild(child, 'SIGTERM', 30_000) };
}

async function untilUp(url: string, child: ChildProcess): Promise<void> {
  const end = Date.now() + START_MS;
  while (Date.now() < end && child.exitCode === null) {
    const up = await fetch(`${url}/health/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (up) return;
    await delay(100);
  }
  await endChild(child, 'SIGTERM');
  throw new LocalStackError('The service did not start: .longhaul/service.log tells why.');
}
