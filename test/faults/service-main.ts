import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { discoverJobTypes } from '@app/engine/registry/discover-job-types.js';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger, NestLogger } from '@app/platform/observability/logger.js';
import { ServiceState } from '../../apps/service/src/api/health/service-state.js';
import { parseJson } from '../../apps/service/src/api/parse-json.js';
import { ServiceModule } from '../../apps/service/src/service.module.js';

// The service as apps/service boots it, with the job types of this folder in the place of its own.
const config = loadConfig();
const logger = createLogger(config.LOG_LEVEL, { role: config.SERVICE_TYPE });
// Who started it holds the other end, and may have been killed.
process.stdin.once('close', () => process.exit(1)).resume();
try {
  const types = await discoverJobTypes(new URL('./job-types/', import.meta.url));
  const app = await NestFactory.create<NestFastifyApplication>(
    ServiceModule.forRoot(config, logger, types),
    new FastifyAdapter({ forceCloseConnections: true }),
    { logger: new NestLogger(logger), abortOnError: false, bodyParser: false },
  );
  app.useBodyParser('application/json', { bodyLimit: 8 * 1024 * 1024 }, (_request, body, done) => {
    try {
      done(null, parseJson(body));
    } catch (error) {
      done(error as Error);
    }
  });
  await app.listen(config.PORT, config.HOST);
  process.once('SIGTERM', () => {
    app.get(ServiceState).stop();
    // Beyond the grace a stop has failed, as it has for the service itself.
    setTimeout(() => process.exit(1), config.SHUTDOWN_GRACE + 8000).unref();
    app.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
  logger.info({ url: await app.getUrl() }, 'longhaul is up');
} catch (error) {
  logger.fatal({ err: error }, `longhaul cannot start: ${(error as Error).message}`);
  process.exit(1);
}
