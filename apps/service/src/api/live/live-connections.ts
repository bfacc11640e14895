import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { Principal } from '@app/platform/auth/principal.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { ApiKeyStore } from '@app/platform/prisma/api-key-store.js';
import { ProblemError } from '../problems/problem.js';

/** Between two looks whether the credentials still hold, in milliseconds: within 5 s a connection ends with its own. */
const CHECK_MS = 2000;
/** How long connections may take to close when the process stops. */
const CLOSING_MS = 1500;
/** Seconds after which a place may be free. */
const RETRY_AFTER = 5;

/** A connection that stays open. */
export interface LiveConnection {
  readonly principal: Principal;
  /** `expired`: its credential holds no more. `stopping`: this process ends, another one goes on. */
  end(why: 'expired' | 'stopping'): void;
  /** Ends it at once, without a word. */
  terminate(): void;
}

/** The open live connections of this process: counts them, ends those that may no longer listen, and all at a stop. */
@Injectable()
export class LiveConnections implements OnModuleDestroy {
  private readonly open = new Set<LiveConnection>();
  private readonly counts = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private checking = false;
  private stopping = false;
  private tellClosed = () => {};

  constructor(
    private readonly keys: ApiKeyStore,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Whether no connection is taken any more. */
  get closing(): boolean {
    return this.stopping;
  }

  /**
   * Takes a place for a connection of somebody. Gives it back when the function that it answers is called.
   * @throws {ProblemError} rate-limited, when the credential has as many as it may
   */
  takePlace({ actor }: Principal): () => void {
    const taken = this.counts.get(actor) ?? 0;
    if (taken >= this.config.LIVE_CONNECTIONS) {
      const text = `A credential may have ${this.config.LIVE_CONNECTIONS} live connections to a process.`;
      throw new ProblemError('rate-limited', text, {}, RETRY_AFTER);
    }
    this.counts.set(actor, taken + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const left = (this.counts.get(actor) ?? 1) - 1;
      if (left === 0) this.counts.delete(actor);
      else this.counts.set(actor, left);
    };
  }

  add(connection: LiveConnection): void {
    this.open.add(connection);
    if (this.stopping) connection.end('stopping');
    this.timer ??= setInterval(() => void this.check(), CHECK_MS).unref();
  }

  delete(connection: LiveConnection): void {
    this.open.delete(connection);
    if (this.open.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.tellClosed();
  }

  /** Ends the connections whose credentials have expired or were revoked. */
  private async check(): Promise<void> {
    const now = Date.now();
    // Before anything is asked: when a token ends is known without Postgres.
    for (const connection of this.open) {
      const { expiresAt } = connection.principal;
      if (expiresAt !== undefined && expiresAt.getTime() <= now) connection.end('expired');
    }
    const ids = new Set([...this.open].flatMap(({ principal }) => principal.keyId ?? []));
    if (ids.size === 0 || this.checking) return;
    this.checking = true;
    try {
      const valid = await this.keys.valid([...ids]);
      for (const connection of this.open) {
        const { keyId } = connection.principal;
        if (keyId !== undefined && ids.has(keyId) && !valid.has(keyId)) connection.end('expired');
      }
    } catch (error) {
      this.logger.warn({ reason: (error as Error).message }, 'the keys of live connections were not checked');
    } finally {
      this.checking = false;
    }
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping = true;
    if (this.open.size === 0) return;
    const closed = new Promise<void>((resolve) => (this.tellClosed = resolve));
    for (const connection of this.open) connection.end('stopping');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, CLOSING_MS)));
    await Promise.race([closed, late]);
    clearTimeout(timer);
    for (const connection of this.open) connection.terminate();
  }
}
