import { timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { type ApiKeyRecord, ApiKeyStore } from '../prisma/api-key-store.js';
import { TicketStore } from '../prisma/ticket-store.js';
import { hashSecret, parseApiKey } from './api-key.js';
import {
  AmbiguousCredentialsError,
  InsufficientScopeError,
  TooManyFailuresError,
  UnauthenticatedError,
} from './auth-errors.js';
import { FailedCredentials } from './failed-credentials.js';
import { IS_PUBLIC, type Principal, REQUIRED_SCOPE, setPrincipal, TAKES_TICKETS } from './principal.js';

/**
 * How long a found key is believed, from the moment at which it was asked for: a revocation is seen by every process
 * within so many milliseconds, without a message that could be lost, and 5 s are promised.
 */
const CACHE_MS = 3000;
const CACHE_KEYS = 10_000;

/** What is looked at of a request. */
export interface Request {
  headers: Record<string, string | string[] | undefined>;
  /** The address of who asks. */
  ip?: string;
  query?: Record<string, unknown>;
  /** Node's own request; it has what `headers` leaves out of a header that came twice. */
  raw?: { headersDistinct: Record<string, string[] | undefined> };
}

/**
 * Lets through who has the scope that the route names, and nobody else. A guard and not a middleware:
 * middleware on Fastify has been passed by with other spellings of a path.
 */
@Injectable()
export class AuthGuard implements CanActivate {
  private readonly cache = new Map<string, { record: ApiKeyRecord; until: number }>();
  private readonly failures = new FailedCredentials();

  constructor(
    private readonly reflector: Reflector,
    private readonly keys: ApiKeyStore,
    private readonly tickets: TicketStore,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const places = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean>(IS_PUBLIC, places)) return true;
    const request = context.switchToHttp().getRequest<Request>();
    const takesTickets = this.reflector.getAllAndOverride<boolean>(TAKES_TICKETS, places) ?? false;
    const ticket = takesTickets ? request.query?.['ticket'] : undefined;
    const principal = await (ticket === undefined
      ? this.identify(request)
      : this.identifyByTicket(request, ticket));
    // Before the scope is looked at: the log is to tell who was refused.
    setPrincipal(request, principal);
    const scope = this.reflector.getAllAndOverride<string>(REQUIRED_SCOPE, places);
    if (scope === undefined || !(principal.scopes.includes(scope) || principal.scopes.includes('admin'))) {
      throw new InsufficientScopeError(scope ?? '(none is enough)');
    }
    return true;
  }

  /**
   * Who makes a request, by the credential in its headers.
   * @throws {UnauthenticatedError} and others of `auth-errors`, when it has none that is valid
   */
  async identify(request: Request): Promise<Principal> {
    const principal = await this.authenticate(credentialOf(request));
    if (!principal) throw this.failure(request);
    return principal;
  }

  private async identifyByTicket(request: Request, ticket: unknown): Promise<Principal> {
    if (hasCredential(request)) throw new AmbiguousCredentialsError();
    const principal = typeof ticket === 'string' ? await this.tickets.claim(ticket) : undefined;
    if (!principal) throw this.failure(request);
    return principal;
  }

  private failure({ ip = '' }: Request): Error {
    const wait = this.failures.note(ip);
    return wait === undefined ? new UnauthenticatedError() : new TooManyFailuresError(wait);
  }

  private async authenticate(credential: string): Promise<Principal | undefined> {
    const parts = parseApiKey(credential);
    if (!parts) return undefined;
    const hash = hashSecret(parts.secret);
    const record = await this.find(parts.id, hash);
    // Compared for an unknown id too, so that the time of the answer does not tell which ids exist.
    const right = isSame(hash, record?.secretHash ?? hashSecret(''));
    const now = Date.now();
    if (!record || !right || record.revokedAt || (record.expiresAt && record.expiresAt.getTime() <= now)) {
      return undefined;
    }
    const { ownerId, scopes, expiresAt } = record;
    return { ownerId, actor: `key:${record.id}`, scopes, ...(expiresAt ? { expiresAt } : {}) };
  }

  /** What is remembered is of use to the right secret alone: a wrong one takes as long as an unknown id. */
  private async find(id: string, hash: string): Promise<ApiKeyRecord | null> {
    // Not the time of day: set back, it would keep what is revoked alive.
    const asked = performance.now();
    const cached = this.cache.get(id);
    if (cached && cached.until > asked && isSame(hash, cached.record.secretHash)) return cached.record;
    const record = await this.keys.find(id);
    if (this.cache.size >= CACHE_KEYS) this.cache.clear();
    if (record) this.cache.set(id, { record, until: asked + CACHE_MS });
    else this.cache.delete(id);
    return record;
  }
}

/** Whether two hashes are equal, in the same time for all that are not. */
function isSame(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'hex'), Buffer.from(other, 'hex'));
}

/** Whether a request brings a credential in its headers, right or wrong. */
export function hasCredential({ headers }: Pick<Request, 'headers'>): boolean {
  return headers['authorization'] !== undefined || headers['x-api-key'] !== undefined;
}

function credentialOf({ headers, raw }: Request): string {
  const bearer = headers['authorization'];
  const key = headers['x-api-key'];
  // Of two, Node shows the first alone, and whoever stands before us may have looked at the other.
  if ((raw?.headersDistinct['authorization']?.length ?? 0) > 1) throw new UnauthenticatedError();
  if (bearer !== undefined && key !== undefined) throw new AmbiguousCredentialsError();
  if (typeof key === 'string') return key;
  const [, token] = /^Bearer (\S+)$/i.exec(typeof bearer === 'string' ? bearer : '') ?? [];
  if (token === undefined) throw new UnauthenticatedError();
  return token;
}
