import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Inject } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import {
  DeclaredScheduleError,
  DuplicateJobError,
  DuplicateScheduleError,
  IdempotencyMismatchError,
  InvalidJobError,
  ListTooWideError,
  QuotaExceededError,
} from '@app/core';
import {
  AddressNotAllowedError,
  AmbiguousCredentialsError,
  AuthUnavailableError,
  InsufficientScopeError,
  TooManyFailuresError,
  UnauthenticatedError,
} from '@app/platform/auth/auth-errors.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { isOutage } from '@app/platform/prisma/sql-errors.js';
import { answerProblem } from './answer-problem.js';
import { KnownRoutes } from './known-routes.js';
import { type Problem, ProblemError, problemOf, problemOfIssues, type ProblemSlug } from './problem.js';

const BY_STATUS: Record<number, ProblemSlug> = {
  400: 'malformed-request',
  404: 'not-found',
  406: 'not-acceptable',
  413: 'payload-too-large',
  415: 'unsupported-media-type',
};

/** The only map from errors to HTTP: whatever is thrown reaches the client as a problem of the closed list. */
const TEXTS: Partial<Record<ProblemSlug, string>> = {
  'malformed-request': 'The request cannot be read.',
  'not-found': 'There is no such route.',
  'not-acceptable': 'Only JSON is answered here: accept application/json.',
  'payload-too-large': 'The body is larger than is taken.',
  'unsupported-media-type': 'Send the body as JSON, with Content-Type: application/json.',
};

@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(
    @Inject(LOGGER) private readonly logger: Logger,
    private readonly routes: KnownRoutes,
  ) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    // It was answered already, that the database is silent.
    if (reply.sent) return;
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const allowed = request.is404 ? this.routes.methodsOf(request.url) : [];
    const problem = allowed.length > 0 ? methodNotAllowed(request.method) : toProblem(error);
    if (problem.status >= 500) {
      this.logger.error({ err: error, status: problem.status, requestId: request.id }, 'a request failed');
    }
    if (problem.status === 405) void reply.header('Allow', allowed.join(', '));
    if (problem.status === 401) void reply.header('WWW-Authenticate', challengeOf(error));
    if (problem.status === 503) void reply.header('Retry-After', '1');
    if (error instanceof TooManyFailuresError || error instanceof AuthUnavailableError) {
      void reply.header('Retry-After', String(error.retryAfterSeconds));
    }
    if (error instanceof QuotaExceededError && error.passes) void reply.header('Retry-After', '10');
    if (error instanceof ProblemError && error.retryAfter !== undefined) {
      void reply.header('Retry-After', String(Math.ceil(error.retryAfter)));
    }
    void answerProblem(reply, problem, request.id);
  }
}

/** RFC 6750: an error is named only to who has sent a credential. */
function challengeOf(error: unknown): string {
  const isWrong = error instanceof UnauthenticatedError && error.wrong;
  return isWrong ? 'Bearer realm="longhaul", error="invalid_token"' : 'Bearer realm="longhaul"';
}

function methodNotAllowed(method: string): Problem {
  return problemOf('method-not-allowed', `This address does not take ${method}.`);
}

/** The problem that an error is to the client. What is not known shows nothing of itself. */
export function toProblem(error: unknown): Problem {
  if (error instanceof ProblemError) {
    const { slug, message, more } = error;
    return more.errors ? problemOfIssues(slug, more.errors) : problemOf(slug, message, more);
  }
  if (error instanceof InvalidJobError) return problemOfIssues(error.code, error.issues);
  if (error instanceof ListTooWideError)
    return problemOfIssues('validation-error', [{ pointer: '/from', message: error.message }]);
  if (error instanceof IdempotencyMismatchError) return problemOf('idempotency-mismatch', error.message);
  if (error instanceof QuotaExceededError) return problemOf('quota-exceeded', error.message);
  if (error instanceof DuplicateJobError)
    return problemOf('duplicate-job', error.message, { jobId: error.jobId });
  if (error instanceof DuplicateScheduleError) return problemOf('duplicate-schedule', error.message);
  if (error instanceof DeclaredScheduleError) return problemOf('declared-schedule', error.message);
  if (error instanceof UnauthenticatedError) return problemOf('unauthenticated', error.message);
  if (error instanceof AmbiguousCredentialsError) return problemOf('malformed-request', error.message);
  if (error instanceof TooManyFailuresError) return problemOf('rate-limited', error.message);
  if (error instanceof AddressNotAllowedError) return problemOf('address-not-allowed', error.message);
  if (error instanceof AuthUnavailableError) return problemOf('auth-unavailable', error.message);
  if (error instanceof InsufficientScopeError) return problemOf('insufficient-scope', error.message);
  const status =
    error instanceof HttpException ? error.getStatus() : (error as { statusCode?: unknown }).statusCode;
  const slug = typeof status === 'number' ? BY_STATUS[status] : undefined;
  // Texts of our own: those of the framework repeat the address, which may hold what is nobody's business.
  if (slug) return problemOf(slug, TEXTS[slug] ?? '');
  if (isOutage(error))
    return problemOf('service-unavailable', 'The database cannot be reached. Try again soon.');
  return problemOf('internal-error', 'The request failed for a reason that is ours. It was logged.');
}
