import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { discoverJobTypes } from '@app/engine/registry/discover-job-types.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, NestLogger } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { answerInTime } from './api/answers-in-time.js';
import { addHeaders, requestIdOf } from './api/answer-headers.js';
import { ServiceState } from './api/health/service-state.js';
import { parseJson } from './api/parse-json.js';
import { WebSocketRequest } from './api/live/websocket-request.js';
import { answerProblem } from './api/problems/answer-problem.js';
import { refuseAddress, refuseConnection } from './api/problems/connection-problems.js';
import { KnownRoutes } from './api/problems/known-routes.js';
import { problemOf } from './api/problems/problem.js';
import { logRequests } from './api/request-log.js';
import { serveOpenApi } from './open-api.js';
import { OpenRequests } from './open-requests.js';
import { ServiceModule } from './service.module.js';

/** How long the head of a request may take. */
const LONGEST_HEAD_MS = 10_000;

/** More than Node takes of a request's head, so that an id of any length is looked up, and not found. */
const LONGEST_ADDRESS = 64 * 1024;

/** Boots the service in the role of its settings; settles when it answers on its port. */
export async function boot(config: Config, logger: Logger): Promise<NestFastifyApplication> {
  const jobTypes = await discoverJobTypes(new URL('./job-types/', import.meta.url));
  const adapter = new FastifyAdapter({
    bodyLimit: config.BODY_LIMIT,
    genReqId: requestIdOf,
    trustProxy: config.TRUST_PROXY ?? false,
    // A client that keeps its connection open must not keep a stopping process alive. By then requests are answered.
    forceCloseConnections: true,
    requestTimeout: config.REQUEST_TIMEOUT,
    // A head needs no such time, and whoever sends one byte after another shall not have it.
    http: {
      IncomingMessage: WebSocketRequest,
      headersTimeout: Math.min(config.REQUEST_TIMEOUT, LONGEST_HEAD_MS),
      connectionsCheckingInterval: 1000,
    },
    routerOptions: { maxParamLength: LONGEST_ADDRESS },
    frameworkErrors: refuseAddress,
    clientErrorHandler: refuseConnection,
  });
  const app = await NestFactory.create<NestFastifyApplication>(
    ServiceModule.forRoot(config, logger, jobTypes),
    adapter,
    { logger: new NestLogger(logger), abortOnError: false, bodyParser: false },
  );
  app.useBodyParser('application/json', { bodyLimit: config.BODY_LIMIT }, (request, body, done) => {
    try {
      done(null, parseJson(body, request.headers));
    } catch (error) {
      done(error as Error);
    }
  });
  // Fastify would hand on plain text as a body; JSON is all that is spoken here.
  app.getHttpAdapter().getInstance().removeContentTypeParser('text/plain');
  addHeaders(app.getHttpAdapter().getInstance());
  logRequests(app.getHttpAdapter().getInstance(), logger);
  app.get(KnownRoutes).watch(app.getHttpAdapter().getInstance());
  app.get(OpenRequests).watch(app.getHttpAdapter().getInstance());
  if (config.servesApi) answerInTime(app.getHttpAdapter().getInstance(), () => app.get(Database).answers());
  sendAwayWhenStopping(app);
  if (config.CORS_ORIGINS) allowOrigins(app, config.CORS_ORIGINS);
  if (config.servesApi) serveOpenApi(app);
  try {
    await app.listen(config.PORT, config.HOST);
  } catch (error) {
    await app.close();
    throw error;
  }
  return app;
}

/** Lets pages of these origins call the API with a key of their own. Cookies are none of it. */
function allowOrigins(app: NestFastifyApplication, origins: string[]): void {
  app.enableCors({
    origin: origins,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: [
      'Authorization',
      'X-API-Key',
      'Content-Type',
      'Idempotency-Key',
      'If-None-Match',
      'Last-Event-ID',
      'X-Request-Id',
    ],
    exposedHeaders: ['ETag', 'Location', 'Idempotency-Replayed', 'Retry-After', 'X-Request-Id'],
    maxAge: 600,
  });
}

/** While running tasks are brought to their end the port stays open: who asks is told to come again, elsewhere. */
function sendAwayWhenStopping(app: NestFastifyApplication): void {
  const state = app.get(ServiceState);
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onSend', async (_request, reply) => {
      if (state.stopping) reply.header('Connection', 'close');
    })
    .addHook('onRequest', async (request, reply) => {
      if (!state.stopping || request.url.startsWith('/health/')) return;
      const problem = problemOf(
        'service-unavailable',
        'This process is stopping. Ask again: another one answers.',
      );
      await answerProblem(reply.header('Retry-After', '1'), problem, request.id);
    });
}
