import { type DynamicModule, Module } from '@nestjs/common';
import { type Logger, LOGGER } from './logger.js';
import { Metrics } from './metrics.js';

/** Hands the process's logger to every module. */
@Module({})
export class ObservabilityModule {
  static forRoot(logger: Logger): DynamicModule {
    return {
      module: ObservabilityModule,
      global: true,
      providers: [{ provide: LOGGER, useValue: logger }, Metrics],
      exports: [LOGGER, Metrics],
    };
  }
}
