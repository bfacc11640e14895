import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  SetMetadata,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import type { Observable } from 'rxjs';
import { IS_PUBLIC } from '@app/platform/auth/principal.js';
import { ProblemError } from './problems/problem.js';

const OURS = new Set(['*/*', 'application/*', 'application/json', 'application/problem+json']);
const STREAM = new Set(['*/*', 'text/*', 'text/event-stream']);
const ONLY_JSON = 'Only JSON is answered here: accept application/json.';

const STREAMS = 'longhaul:streams';

/** A route that answers with server-sent events too, or with nothing else. */
export const StreamsEvents = (how: 'too' | 'only') => SetMetadata(STREAMS, how);

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
    const streams = this.reflector.get<'too' | 'only' | undefined>(STREAMS, context.getHandler());
    const taken = streams === 'only' ? STREAM : streams === 'too' ? new Set([...OURS, ...STREAM]) : OURS;
    if (!open && accept !== undefined && !takes(accept, taken)) {
      const what =
        streams === 'only' ? 'Only events are answered here: accept text/event-stream.' : ONLY_JSON;
      throw new ProblemError('not-acceptable', what);
    }
    return next.handle();
  }
}

/** Whether a request asks for server-sent events by name. */
export function asksForEvents({ headers }: FastifyRequest): boolean {
  return headers.accept !== undefined && takes(headers.accept, new Set(['text/event-stream']));
}

function takes(accept: string, taken: ReadonlySet<string>): boolean {
  return accept.split(',').some((range) => {
    const [type = '', ...parameters] = range
      .toLowerCase()
      .split(';')
      .map((part) => part.trim());
    return taken.has(type) && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}
