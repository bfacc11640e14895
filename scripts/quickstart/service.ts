import { join, relative } from 'node:path';
import { pino } from 'pino';
import { loadConfig } from '@app/platform/config/config.js';
import { logRulesOf } from '@app/platform/config/log-rules.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { boot } from '../../apps/service/src/boot.js';
import { portRefused } from '../local/free-port.js';
import { localFolder } from '../local/paths.js';
import type { Log } from '../local/types.js';
import { startWatched } from './watched.js';

/** A service that answers. */
interface RunningService {
  url: string;
  stop(): Promise<void>;
}

const logFile = join(localFolder, 'service.log');

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
  const url = `http://127.0.0.1:${config.PORT}`;
  if (watched) {
    const log = { file: logFile, name: serviceLog };
    return { url, stop: await startWatched({ environment, url, log, say, signal }) };
  }
  const output = pino.destination({ dest: logFile, append: false, sync: true });
  const logger = createLogger(config.LOG_LEVEL, { role: config.SERVICE_TYPE }, output, logRulesOf(config));
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
