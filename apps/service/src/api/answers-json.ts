import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import type { Observable } from 'rxjs';
import { IS_PUBLIC } from '@app/platform/auth/principal.js';
import { ProblemError } from './problems/problem.js';

const OURS = new Set(['*/*', 'application/*', 'application/json', 'application/problem+json']);

/** Refuses a request that cannot take JSON, before anything is done for it. Public routes answer as they like. */
@Injectable()
export class AnswersJson implements NestInterceptor {
  constructor(private readonly reflector: Reflector) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const open = this.reflector.getAllAndOverride<boolean>(IS_PUBLIC, [
      context.getHandler(),
      context.getClass(),
    ]);
    const { accept } = context.switchToHttp().getRequest<FastifyRequest>().headers;
    if (!open && accept !== undefined && !takesJson(accept)) {
      throw new ProblemError('not-acceptable', 'Only JSON is answered here: accept application/json.');
    }
    return next.handle();
  }
}

function takesJson(accept: string): boolean {
  return accept.split(',').some((range) => {
    const [type = '', ...parameters] = range
      .toLowerCase()
      .split(';')
      .map((part) => part.trim());
    return OURS.has(type) && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}
