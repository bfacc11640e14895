import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { readReply } from '../catalog/read-reply.js';
import type { Logger } from '../observability/logger.js';
import { AuthUnavailableError } from './auth-errors.js';

type KeySet = ReturnType<typeof createLocalJWKSet>;

/** Milliseconds. */
const TIMES = {
  /** How long keys are used without a question whether they are still those. */
  fresh: 600_000,
  /** How long they are used when that question gets no answer. */
  kept: 86_400_000,
  /** The least time between two questions, however many tokens name keys that are not known. */
  cooldown: 30_000,
  /** The same after a question that got no answer. */
  retry: 2_000,
  timeout: 5_000,
};
const MOST_BYTES = 256 * 1024;

/**
 * The public keys of an identity provider, by its JWKS address. What is known serves while the provider is away; while
 * nothing is known, nobody can tell a right token from a wrong one, and `AuthUnavailableError` says so.
 */
export class JwksKeys {
  private known: { keys: KeySet; since: number } | undefined;
  private loading: Promise<void> | undefined;
  private nextQuestion = 0;
  private failed = false;
  private readonly times: typeof TIMES;

  constructor(
    private readonly address: string,
    private readonly logger: Logger,
    times: Partial<typeof TIMES> = {},
  ) {
    this.times = { ...TIMES, ...times };
  }

  /**
   * The key that the header of a token means. Its `kid` chooses among ours, and nothing in it is ever an address or a key.
   * @throws {AuthUnavailableError} when it cannot be told
   */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const keys = await this.current();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (this.mayAsk()) {
        // The provider may have a new key.
        await this.load();
        return (await this.current())(header, token);
      }
      throw this.failed ? this.unavailable() : error;
    }
  };

  private async current(): Promise<KeySet> {
    const age = this.known ? performance.now() - this.known.since : Infinity;
    if (this.known && age < this.times.kept) {
      if (age >= this.times.fresh && this.mayAsk()) this.load().catch(() => {});
      return this.known.keys;
    }
    this.known = undefined;
    if (!this.mayAsk()) throw this.unavailable();
    await this.load();
    return this.current();
  }

  private mayAsk(): boolean {
    return this.loading !== undefined || performance.now() >= this.nextQuestion;
  }

  /** One question at a time, whose answer is for all who wait. */
  private load(): Promise<void> {
    this.loading ??= this.ask().finally(() => {
      this.loading = undefined;
    });
    return this.loading;
  }

  private async ask(): Promise<void> {
    try {
      const keys = createLocalJWKSet(await this.fetch());
      this.known = { keys, since: performance.now() };
      this.failed = false;
    } catch (error) {
      this.failed = true;
      const { message, cause } = error as Error & { cause?: { code?: unknown } };
      this.logger.warn({ reason: message, code: cause?.code }, 'the keys of JWT_JWKS_URL cannot be read');
    }
    this.nextQuestion = performance.now() + (this.failed ? this.times.retry : this.times.cooldown);
    if (this.failed) throw this.unavailable();
  }

  private async fetch(): Promise<JSONWebKeySet> {
    const response = await fetch(this.address, {
      // Where the setting points is trusted, and not where that points.
      redirect: 'manual',
      headers: { accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.timeout(this.times.timeout),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`it answered ${response.status}`);
    }
    const text = await readReply(response, MOST_BYTES);
    const set = parsed(text);
    // Without a key it would only lock everybody out.
    if (!Array.isArray(set?.keys) || set.keys.length === 0) throw new Error('it answered no set of keys');
    return set;
  }

  private unavailable(): AuthUnavailableError {
    return new AuthUnavailableError(Math.max(1, Math.ceil((this.nextQuestion - performance.now()) / 1000)));
  }
}

/** The messages of JSON.parse quote what they read. */
function parsed(text: string): JSONWebKeySet | undefined {
  try {
    return JSON.parse(text) as JSONWebKeySet;
  } catch {
    return undefined;
  }
}
