import { Resolver } from 'node:dns/promises';
import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '../config/config.module.js';
import type { Config } from '../config/config.js';
import { type CheckedAddress, checkAddress } from './check-address.js';
import { type Network, networksOf } from './networks.js';
import { OutboundRefusedError, type RefusalCode } from './outbound-errors.js';
import { postPinned } from './post-pinned.js';
import { withinLimit } from './within-limit.js';

/** Milliseconds of one question to a name server, and how often it is asked. */
const DNS = { timeout: 2000, tries: 2 };

/** How a call went. `answered`: with whatever status. `failed`: no answer came, for such a reason. `refused`: no call was made. */
export type OutboundResult =
  | { kind: 'answered'; status: number }
  | { kind: 'failed'; reason: string }
  | { kind: 'refused'; code: RefusalCode; reason: string };

/** Calls addresses that users have given, without becoming their way into the network that it runs in. */
@Injectable()
export class Outbound {
  private readonly allowed: Network[];
  private readonly timeoutMs: number;
  private readonly servers: string[] | undefined;

  constructor(
    @Inject(CONFIG) config: Pick<Config, 'WEBHOOK_ALLOWED_NETWORKS' | 'WEBHOOK_TIMEOUT' | 'WEBHOOK_DNS'>,
  ) {
    this.allowed = networksOf(config.WEBHOOK_ALLOWED_NETWORKS ?? []);
    this.timeoutMs = config.WEBHOOK_TIMEOUT;
    this.servers = config.WEBHOOK_DNS;
  }

  /**
   * Checks an address before it is kept. It is checked again at each call, for a name may lead elsewhere by then.
   * @throws {OutboundRefusedError} when it is not to be called.
   */
  check(address: string): Promise<CheckedAddress> {
    return withinLimit(this.timeoutMs, undefined, (limit) => this.checkWithin(address, limit));
  }

  /** Posts a body. Never rejects, and takes no longer than WEBHOOK_TIMEOUT, names and all. Redirects are not followed, and of the answer only the status is kept. */
  post(
    address: string,
    body: string,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<OutboundResult> {
    return withinLimit(this.timeoutMs, signal, (limit) => this.postWithin(address, body, headers, limit));
  }

  private async postWithin(
    address: string,
    body: string,
    headers: Record<string, string>,
    limit: AbortSignal,
  ): Promise<OutboundResult> {
    try {
      const checked = await this.checkWithin(address, limit);
      limit.throwIfAborted();
      return {
        kind: 'answered',
        status: await postPinned(checked, body, headers, { signal: limit, connectMs: this.timeoutMs / 2 }),
      };
    } catch (error) {
      // A name that was not found in time may well have an address.
      if (limit.aborted) return { kind: 'failed', reason: 'timeout' };
      if (error instanceof OutboundRefusedError)
        return { kind: 'refused', code: error.code, reason: error.message };
      return { kind: 'failed', reason: reasonOf(error as Error) };
    }
  }

  private checkWithin(address: string, limit: AbortSignal): Promise<CheckedAddress> {
    return checkAddress(address, (host) => this.resolve(host, limit), this.allowed);
  }

  /** Asks the name servers, and no file: what only this machine knows by name is none of a user's business. */
  private async resolve(host: string, limit: AbortSignal): Promise<string[]> {
    if (limit.aborted) return [];
    const resolver = new Resolver(DNS);
    if (this.servers) resolver.setServers(this.servers);
    const cancel = () => resolver.cancel();
    limit.addEventListener('abort', cancel);
    const found = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    limit.removeEventListener('abort', cancel);
    return found.flatMap((family) => (family.status === 'fulfilled' ? family.value : []));
  }
}

/** What went wrong, in words that show no address. */
function reasonOf(error: Error & { code?: string }): string {
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'timeout';
  return /^[A-Z][A-Z0-9_]{2,60}$/.test(error.code ?? '') ? error.code!.toLowerCase() : 'failed';
}
