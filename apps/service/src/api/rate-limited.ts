import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { findPrincipal } from '@app/platform/auth/principal.js';
import { RateLimit } from '@app/platform/redis/rate-limit.js';
import { ProblemError } from './problems/problem.js';

/** Refuses what an owner asks more often than is allowed, before anything is done for it. After the guard: it knows who asks. */
@Injectable()
export class RateLimited implements NestInterceptor {
  constructor(private readonly limit: RateLimit) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const principal = findPrincipal(context.switchToHttp().getRequest<object>());
    const waitMs = principal ? await this.limit.spend(principal.ownerId) : 0;
    if (waitMs > 0) {
      throw new ProblemError('rate-limited', 'These are more requests than are allowed.', {}, waitMs / 1000);
    }
    return next.handle();
  }
}
