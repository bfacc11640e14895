import { createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import type { Scope } from './api-key.js';

/** Who makes a request. `actor` names the credential in the ledger. */
export interface Principal {
  ownerId: string;
  actor: string;
  scopes: readonly string[];
  /** When the credential ends by itself: the `exp` of a token, or that of a key which has one. */
  expiresAt?: Date;
  /** The key that was used, where it was one or behind the ticket: what stays open ends with it. */
  keyId?: string;
}

const PRINCIPAL = Symbol('principal');

interface RequestWithPrincipal {
  [PRINCIPAL]?: Principal;
}

/** Remembers who makes the request, for `@CurrentPrincipal()`. */
export function setPrincipal(request: object, principal: Principal): void {
  (request as RequestWithPrincipal)[PRINCIPAL] = principal;
}

/** Who makes the request, where a credential was right. */
export function findPrincipal(request: object): Principal | undefined {
  return (request as RequestWithPrincipal)[PRINCIPAL];
}

/** The parameter that holds who makes the request. */
export const CurrentPrincipal = createParamDecorator(
  (_data: unknown, context: ExecutionContext): Principal => {
    const principal = findPrincipal(context.switchToHttp().getRequest<object>());
    if (!principal) throw new Error('The route is public: it has no principal.');
    return principal;
  },
);

export const IS_PUBLIC = 'longhaul:public';
export const REQUIRED_SCOPE = 'longhaul:scope';

export const TAKES_TICKETS = 'longhaul:tickets';

/** Lets a ticket in the query stand for a credential: browsers send no header of ours with an EventSource. */
export const TakesTickets = () => SetMetadata(TAKES_TICKETS, true);

/** Lets anybody use a route. */
export const Public = () => SetMetadata(IS_PUBLIC, true);

/** Names the scope that a route needs. A route with neither this nor `@Public()` answers nobody. */
export const RequiresScope = (scope: Scope) => SetMetadata(REQUIRED_SCOPE, scope);
