import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { InsufficientScopeError } from './auth-errors.js';
import { type CredentialRequest, Credentials } from './credentials.js';
import { IS_PUBLIC, REQUIRED_SCOPE, TAKES_TICKETS } from './principal.js';

/**
 * Lets through who has the scope that the route names, and nobody else. A guard and not a middleware:
 * middleware on Fastify has been passed by with other spellings of a path.
 */
@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly credentials: Credentials,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const places = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean>(IS_PUBLIC, places)) return true;
    const request = context.switchToHttp().getRequest<CredentialRequest>();
    const takesTickets = this.reflector.getAllAndOverride<boolean>(TAKES_TICKETS, places) ?? false;
    const ticket = takesTickets ? request.query?.['ticket'] : undefined;
    const { scopes } = await (ticket === undefined
      ? this.credentials.principalOf(request)
      : this.credentials.principalOfTicket(request, ticket));
    const scope = this.reflector.getAllAndOverride<string>(REQUIRED_SCOPE, places);
    if (scope === undefined || !(scopes.includes(scope) || scopes.includes('admin'))) {
      throw new InsufficientScopeError(scope ?? '(none is enough)');
    }
    return true;
  }
}
