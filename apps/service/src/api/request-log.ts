import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { validate as isUuid } from 'uuid';
import { findPrincipal } from '@app/platform/auth/principal.js';
import type { Logger } from '@app/platform/observability/logger.js';

/** Marks a route whose use is told in an audit line, under a name such as `job.cancel`. */
export const Audited = (action: string): MethodDecorator => RouteConfig({ audit: action });

const KEY_ID = /^[0-9A-Za-z]{8}$/;
const REFUSED = [401, 403];

/**
 * Writes a line for each request when it is answered, and an audit line for each that changes something on behalf of
 * somebody or was denied. A line has the pattern of the route and never the address itself, which may hold anything.
 */
export function logRequests(server: FastifyInstance, logger: Logger): void {
  // A level that leaves out the requests must not leave out who did what.
  const audit = logger.level === 'silent' ? logger : logger.child({}, { level: 'info' });
  server.addHook('onResponse', async (request, reply) => {
    const { url: route, config } = request.routeOptions;
    const line = lineOf(request, reply);
    const isProbe = route?.startsWith('/health/') || route === '/metrics';
    logger[isProbe ? 'debug' : 'info'](
      { ...line, route, durationMs: Math.round(reply.elapsedTime * 10) / 10 },
      'a request was answered',
    );
    const denied = REFUSED.includes(reply.statusCode) ? 'access.denied' : undefined;
    const action = denied ?? (config as { audit?: string }).audit;
    if (action !== undefined) audit.info({ audit: action, ...line, route, ip: request.ip }, 'audit');
  });
}

function lineOf(request: FastifyRequest, reply: FastifyReply): Record<string, unknown> {
  const { ownerId, actor } = findPrincipal(request) ?? {};
  const params = (request.params ?? {}) as Record<string, string | undefined>;
  // What was made is told by its address.
  const [, noun, made] = String(reply.getHeader('location') ?? '').split('/');
  const idOf = (parameter: string, of: string) =>
    params[parameter] ?? (reply.statusCode === 201 && noun === of ? made : undefined);
  const jobId = idOf('jobId', 'jobs');
  const scheduleId = idOf('scheduleId', 'schedules');
  const webhookId = idOf('webhookId', 'webhooks');
  const keyId = idOf('keyId', 'api-keys');
  return {
    requestId: request.id,
    method: request.method,
    status: reply.statusCode,
    ...(ownerId === undefined ? {} : { ownerId, actor }),
    ...(isUuid(jobId) ? { jobId } : {}),
    ...(isUuid(scheduleId) ? { scheduleId } : {}),
    ...(isUuid(webhookId) ? { webhookId } : {}),
    ...(keyId !== undefined && KEY_ID.test(keyId) ? { keyId } : {}),
    // Of a pause. One that is not known is only what somebody has written into an address.
    ...(params['name'] !== undefined && reply.statusCode < 400 ? { name: params['name'] } : {}),
  };
}
