import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Inject } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DuplicateJobError, IdempotencyMismatchError, InvalidJobError } from '@app/core';
import {
  AmbiguousCredentialsError,
  InsufficientScopeError,
  TooManyFailuresError,
  UnauthenticatedError,
} from '@app/platform/auth/auth-errors.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { isOutage } from '@app/platform/prisma/sql-errors.js';
import { type Problem, ProblemError, problemOf, type ProblemSlug } from './problem.js';

const BY_STATUS: Record<number, ProblemSlug> = {
  400: 'malformed-request',
  404: 'not-found',
  413: 'payload-too-large',
  415: 'unsupported-media-type',
};

/** The only map from errors to HTTP: whatever is thrown reaches the client as a problem of the closed list. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const problem = toProblem(error);
    if (problem.status >= 500) {
      const { id: requestId } = host.switchToHttp().getRequest<FastifyRequest>();
      this.logger.error({ requestId, err: error, status: problem.status }, 'a request failed');
    }
    if (problem.status === 401) void reply.header('WWW-Authenticate', 'Bearer realm="longhaul"');
    if (error instanceof TooManyFailuresError) {
      void reply.header('Retry-After', String(error.retryAfterSeconds));
    }
    if (problem.status === 503) void reply.header('Retry-After', '1');
    void reply.status(problem.status).type('application/problem+json').send(JSON.stringify(problem));
  }
}

/** The problem that an error is to the client. What is not known shows nothing of itself. */
export function toProblem(error: unknown): Problem {
  if (error instanceof ProblemError) return problemOf(error.slug, error.message, error.more);
  if (error instanceof InvalidJobError) return problemOf(error.code, error.message, { errors: error.issues });
  if (error instanceof IdempotencyMismatchError) return problemOf('idempotency-mismatch', error.message);
  if (error instanceof DuplicateJobError)
    return problemOf('duplicate-job', error.message, { jobId: error.jobId });
  if (error instanceof UnauthenticatedError) return problemOf('unauthenticated', error.message);
  if (error instanceof AmbiguousCredentialsError) return problemOf('malformed-request', error.message);
  if (error instanceof TooManyFailuresError) return problemOf('rate-limited', error.message);
  if (error instanceof InsufficientScopeError) return problemOf('insufficient-scope', error.message);
  const status =
    error instanceof HttpException ? error.getStatus() : (error as { statusCode?: unknown }).statusCode;
  const slug = typeof status === 'number' ? BY_STATUS[status] : undefined;
  if (slug === 'unsupported-media-type') {
    return problemOf(slug, 'Send the body as JSON, with Content-Type: application/json.');
  }
  if (slug) return problemOf(slug, (error as Error).message);
  if (isOutage(error))
    return problemOf('service-unavailable', 'The database cannot be reached. Try again soon.');
  return problemOf('internal-error', 'The request failed for a reason that is ours. It was logged.');
}
