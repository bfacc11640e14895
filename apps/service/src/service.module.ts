import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { StandardSchemaValidationPipe } from '@nestjs/common';
import type { JobTypeClass } from '@app/core';
import { LonghaulModule } from '@app/engine/longhaul.module.js';
import { AuthModule } from '@app/platform/auth/auth.module.js';
import type { Config } from '@app/platform/config/config.js';
import { ConfigModule } from '@app/platform/config/config.module.js';
import type { Logger } from '@app/platform/observability/logger.js';
import { ObservabilityModule } from '@app/platform/observability/observability.module.js';
import { DatabaseModule } from '@app/platform/prisma/database.module.js';
import { RedisModule } from '@app/platform/redis/redis.module.js';
import { ApiKeysController } from './api/api-keys/api-keys.controller.js';
import { AnswersJson } from './api/answers-json.js';
import { HealthController } from './api/health/health.controller.js';
import { MetricsController } from './api/health/metrics.controller.js';
import { MetricsServer } from './api/health/metrics-server.js';
import { ServiceState } from './api/health/service-state.js';
import { JobTypesController } from './api/job-types/job-types.controller.js';
import { Cursors } from './api/jobs/cursors.js';
import { EventsController } from './api/jobs/events.controller.js';
import { JobViewsController } from './api/jobs/job-views.controller.js';
import { JobsController } from './api/jobs/jobs.controller.js';
import { EventStreams } from './api/live/event-streams.js';
import { LiveConnections } from './api/live/live-connections.js';
import { LiveController } from './api/live/live.controller.js';
import { WebSockets } from './api/live/web-sockets.js';
import { PausesController } from './api/pauses/pauses.controller.js';
import { ResolveController } from './api/jobs/resolve.controller.js';
import { KnownRoutes } from './api/problems/known-routes.js';
import { ProblemFilter } from './api/problems/problem.filter.js';
import { validationError } from './api/problems/problem.js';
import { RateLimited } from './api/rate-limited.js';
import { SchedulesController } from './api/schedules/schedules.controller.js';
import { WebhooksController } from './api/webhooks/webhooks.controller.js';
import { WorkersController } from './api/workers/workers.controller.js';
import { OpenRequests } from './open-requests.js';

const pipe = new StandardSchemaValidationPipe({
  exceptionFactory: (issues) =>
    validationError(issues.map(({ path = [], message }) => ({ pointer: pointerOf(path), message }))),
});

/** Named, for whoever boots the service may have been started with another file. */
const MAIN = new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url);

/** The service in its role: the API answers requests, a task worker executes, and both answer for their health. */
@Module({})
export class ServiceModule {
  /** @param sandboxEntry the file with which a process starts that runs one task; default: that of the service. */
  static forRoot(
    config: Config,
    logger: Logger,
    jobTypes: JobTypeClass[],
    sandboxEntry: URL | string = MAIN,
  ): DynamicModule {
    return {
      module: ServiceModule,
      imports: [
        ConfigModule.forRoot(config),
        ObservabilityModule.forRoot(logger),
        DatabaseModule,
        RedisModule,
        AuthModule,
        LonghaulModule.forRoot({ jobTypes, executes: config.runsTasks, sandbox: { entry: sandboxEntry } }),
      ],
      controllers: [
        HealthController,
        ...(config.METRICS_PORT === undefined ? [MetricsController] : []),
        ...(config.servesApi
          ? [
              JobsController,
              JobViewsController,
              EventsController,
              ResolveController,
              JobTypesController,
              PausesController,
              SchedulesController,
              WorkersController,
              WebhooksController,
              ApiKeysController,
              LiveController,
            ]
          : []),
      ],
      providers: [
        ServiceState,
        OpenRequests,
        ...(config.servesApi ? [Cursors, LiveConnections, EventStreams, WebSockets] : []),
        ...(config.METRICS_PORT === undefined ? [] : [MetricsServer]),
        KnownRoutes,
        { provide: APP_INTERCEPTOR, useClass: RateLimited },
        { provide: APP_INTERCEPTOR, useClass: AnswersJson },
        { provide: APP_FILTER, useClass: ProblemFilter },
        { provide: APP_PIPE, useValue: pipe },
      ],
    };
  }
}

function pointerOf(path: readonly (PropertyKey | { key: PropertyKey })[]): string {
  return path.map((part) => `/${String(typeof part === 'object' ? part.key : part)}`).join('');
}
