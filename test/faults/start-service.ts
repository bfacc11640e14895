import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { JobTypeClass } from '@app/core';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, NestLogger } from '@app/platform/observability/logger.js';
import { ServiceState } from '../../apps/service/src/api/health/service-state.js';
import { parseJson } from '../../apps/service/src/api/parse-json.js';
import { ServiceModule } from '../../apps/service/src/service.module.js';

/** Starts the service in the role of its settings; settles when it answers. */
export async function startService(config: Config, logger: Logger, types: JobTypeClass[]): Promise<void> {
  const app = await NestFactory.create<NestFastifyApplication>(
    ServiceModule.forRoot(config, logger, types, process.argv[1]),
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
}
