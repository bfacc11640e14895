import {
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
  UseInterceptors,
} from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Observable } from 'rxjs';
import { pointerTo, validationError } from './problems/problem.js';

/** On a route that reads no query, or no body: refuses a request that brings one, as a schema would. */
export function TakesNo(...parts: ('query' | 'body')[]): MethodDecorator {
  return UseInterceptors(new RefusesExtras(parts));
}

class RefusesExtras implements NestInterceptor {
  constructor(private readonly parts: ('query' | 'body')[]) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    for (const part of this.parts) {
      const given = request[part] ?? {};
      if (typeof given !== 'object' || Array.isArray(given)) {
        throw validationError([{ pointer: '', message: 'This route takes no body.' }]);
      }
      const keys = Object.keys(given);
      const message = part === 'query' ? 'There is no such parameter.' : 'This route takes no body.';
      if (keys.length > 0) throw validationError(keys.map((key) => ({ pointer: pointerTo([key]), message })));
    }
    return next.handle();
  }
}
