import { timingSafeEqual } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { type ApiKeyRecord, ApiKeyStore } from '../prisma/api-key-store.js';
import { TicketStore } from '../prisma/ticket-store.js';
import { hashSecret, parseApiKey } from './api-key.js';
import {
  AddressNotAllowedError,
  AmbiguousCredentialsError,
  TooManyFailuresError,
  UnauthenticatedError,
} from './auth-errors.js';
import { DoubtfulKeys } from './doubtful-keys.js';
import { FailedCredentials } from './failed-credentials.js';
import type { JwtVerifier } from './jwt-verifier.js';
import { isWithin, placeOf } from './networks.js';
import { type Principal, setPrincipal } from './principal.js';

/** Injection token of what verifies JSON web tokens; null where none are taken. */
export const JWT_VERIFIER = Symbol('JWT_VERIFIER');

/**
 * How long a found key is believed, from the moment at which it was asked for: a revocation is seen by every process
 * within so many milliseconds, without a message that could be lost, and 5 s are promised.
 */
const CACHE_MS = 3000;
const CACHE_KEYS = 10_000;

/** What is looked at of a request. */
export interface CredentialRequest {
  headers: Record<string, string | string[] | undefined>;
  /** The address of who asks. */
  ip?: string;
  query?: Record<string, unknown>;
  /** Node's own request; it has what `headers` leaves out of a header that came twice. */
  raw?: { headersDistinct: Record<string, string[] | undefined> };
}

/** Tells who makes a request, by an API key or a JSON web token. */
@Injectable()
export class Credentials {
  private readonly cache = new Map<string, { record: ApiKeyRecord; until: number }>();
  private readonly failures = new FailedCredentials();
  private readonly doubtful = new DoubtfulKeys(this.failures);

  constructor(
    private readonly keys: ApiKeyStore,
    private readonly tickets: TicketStore,
    @Inject(JWT_VERIFIER) private readonly tokens: JwtVerifier | null,
  ) {}

  /**
   * Who makes a request; it is remembered with the request as its principal.
   * @throws {UnauthenticatedError | AmbiguousCredentialsError | TooManyFailuresError | AddressNotAllowedError}
   * @throws {AuthUnavailableError} when the keys of tokens cannot be had; the error of the store when it is away
   */
  async principalOf(request: CredentialRequest): Promise<Principal> {
    const credential = credentialOf(request);
    const parts = parseApiKey(credential);
    const record = parts && (await this.findRight(parts.id, hashSecret(parts.secret), request.ip));
    const principal = record ? ofKey(record) : await this.tokens?.verify(credential);
    if (!principal) throw this.failure(request);
    // Before anything else is looked at: the log is to tell who was refused.
    setPrincipal(request, principal);
    if (record && record.allowedCidrs.length > 0 && !isWithin(request.ip ?? '', record.allowedCidrs)) {
      throw new AddressNotAllowedError();
    }
    return principal;
  }

  /**
   * Who makes a request with a ticket in place of a credential; it is used up.
   * @throws {UnauthenticatedError | AmbiguousCredentialsError | TooManyFailuresError}
   */
  async principalOfTicket(request: CredentialRequest, ticket: unknown): Promise<Principal> {
    if (hasCredential(request)) throw new AmbiguousCredentialsError();
    const principal = typeof ticket === 'string' ? await this.tickets.claim(ticket) : undefined;
    if (!principal) throw this.failure(request);
    setPrincipal(request, principal);
    return principal;
  }

  private failure({ ip = '' }: CredentialRequest): Error {
    const wait = this.failures.note(placeOf(ip));
    return wait === undefined ? new UnauthenticatedError(true) : new TooManyFailuresError(wait);
  }

  private async findRight(id: string, hash: string, ip = ''): Promise<ApiKeyRecord | undefined> {
    const known = this.cache.get(id);
    const look = () => this.find(id, hash);
    // One that was right before may be asked for as often as that is needed.
    const isKnown = known !== undefined && isSame(hash, known.record.secretHash);
    const record = await (isKnown ? look() : this.doubtful.lookUp(placeOf(ip), look));
    // Compared for an unknown id too, so that the time of the answer does not tell which ids exist.
    const right = isSame(hash, record?.secretHash ?? hashSecret(''));
    return right && holds(record) ? record : undefined;
  }

  /** What is remembered is of use to the right secret alone: a wrong one takes as long as an unknown id. */
  private async find(id: string, hash?: string): Promise<ApiKeyRecord | null> {
    // Not the time of day: set back, it would keep what is revoked alive.
    const asked = performance.now();
    const cached = this.cache.get(id);
    const isOfUse = cached && (hash === undefined || isSame(hash, cached.record.secretHash));
    if (isOfUse && cached.until > asked) return cached.record;
    const record = await this.keys.find(id);
    if (this.cache.size >= CACHE_KEYS) this.cache.clear();
    if (record) this.cache.set(id, { record, until: asked + CACHE_MS });
    else this.cache.delete(id);
    return record;
  }
}

function ofKey({ id, ownerId, scopes, expiresAt }: ApiKeyRecord): Principal {
  return { ownerId, actor: `key:${id}`, scopes, keyId: id, ...(expiresAt ? { expiresAt } : {}) };
}

function holds(record: ApiKeyRecord | null): record is ApiKeyRecord {
  if (!record || record.revokedAt) return false;
  return !record.expiresAt || record.expiresAt.getTime() > Date.now();
}

/** Whether two hashes are equal, in the same time for all that are not. */
function isSame(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'hex'), Buffer.from(other, 'hex'));
}

/** Whether a request brings a credential in its headers, right or wrong. */
export function hasCredential({ headers }: Pick<CredentialRequest, 'headers'>): boolean {
  return headers['authorization'] !== undefined || headers['x-api-key'] !== undefined;
}

function credentialOf({ headers, raw }: CredentialRequest): string {
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
