import { EngineHealth } from '@app/engine/execution/engine-health.js';
import { type Config, ConfigError, loadConfig } from '@app/platform/config/config.js';
import { logRulesOf } from '@app/platform/config/log-rules.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { ServiceState } from './api/health/service-state.js';

/** Beyond the grace of the tasks: for letting go of connections. The whole stop stays under Kubernetes' 30 s. */
const CLOSING_MS = 8000;

/** The exit code of a process that could take no more work (EX_SOFTWARE of sysexits.h). */
const STUCK = 70;

const config = readConfig();
const logger = createLogger(config.LOG_LEVEL, { role: config.SERVICE_TYPE }, undefined, logRulesOf(config));
try {
  // Loaded only where it is needed: a process for one task is to be there soon.
  if (config.sandboxed) await (await import('./boot-sandbox.js')).bootSandbox(config, logger);
  const { boot } = await import('./boot.js');
  const app = await boot(config, logger);
  logger.info({ url: await app.getUrl() }, 'longhaul is up');
  let stopping = false;
  const stop = (reason: string, code: number) => {
    if (stopping) process.exit(130);
    stopping = true;
    app.get(ServiceState).stop();
    logger.info({ reason }, 'longhaul stops');
    setTimeout(() => process.exit(1), config.SHUTDOWN_GRACE + CLOSING_MS).unref();
    app.close().then(
      () => process.exit(code),
      (error: Error) => {
        logger.error({ reason: error.message }, 'the stop failed');
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop(signal, 0));
  // A process that can take no more work ends, so that whoever runs it starts a new one.
  if (config.runsTasks) app.get(EngineHealth).onStuck((reason) => stop(reason, STUCK));
} catch (error) {
  const setting = error instanceof ConfigError ? error.message : portFailure(error as NodeJS.ErrnoException);
  if (setting) logger.fatal({}, `longhaul cannot start: ${setting}`);
  else logger.fatal({ err: error }, `longhaul cannot start: ${(error as Error).message}`);
  process.exitCode = 1;
  setTimeout(() => process.exit(1), 2000).unref();
}

/** What to say of an address that cannot be listened on; undefined for any other failure. */
function portFailure({ syscall, code, port }: NodeJS.ErrnoException & { port?: number }): string | undefined {
  if (syscall === 'getaddrinfo') return `HOST is no address of this machine (${code}).`;
  if (syscall !== 'listen') return undefined;
  const name = port !== undefined && port === config.METRICS_PORT ? 'METRICS_PORT' : 'PORT';
  return `HOST and ${name} cannot be listened on (${code}).`;
}

function readConfig(): Config {
  try {
    return loadConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}
