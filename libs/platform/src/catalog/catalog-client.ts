import {
  type CatalogAnswer,
  answerOf,
  type CatalogFinding,
  type CatalogReply,
  findingOf,
} from './catalog-answer.js';
import { type CatalogAddress, catalogAddress } from './catalog-address.js';
import { withinLimit } from '../outbound/within-limit.js';
import { readReply, ReplyTooLargeError } from './read-reply.js';
import { safeText } from './safe-text.js';

export interface CatalogClientOptions {
  /** base URL; `/metadata` is added to its path. Credentials in it are sent as Basic authorization */
  url: string;
  /** sent as a bearer token; goes before credentials in the URL */
  token?: string;
  /** for one whole call, from connecting to the last byte of the reply */
  timeoutMs: number;
  /** longest reply that is read; a longer one makes the outcome unknown. Default 64 KiB */
  maxReplyBytes?: number;
}

const MAX_REPLY_BYTES = 64 * 1024;

/**
 * Speaks to the Catalog over HTTP and says no more than it knows: a call whose outcome is not certain is `unknown`,
 * never an error. It repeats nothing, and follows no redirect (that would turn a POST into a GET, or carry the token
 * elsewhere). The texts it returns are one line of at most 500 characters, without the token or credentials.
 */
export class CatalogClient {
  readonly #address: CatalogAddress;
  readonly #timeoutMs: number;
  readonly #maxReplyBytes: number;

  /** @throws {TypeError} on a URL that is not http(s), or a token that no header can carry. */
  constructor(options: CatalogClientOptions) {
    this.#address = catalogAddress(options.url, options.token);
    this.#timeoutMs = options.timeoutMs;
    this.#maxReplyBytes = options.maxReplyBytes ?? MAX_REPLY_BYTES;
  }

  /**
   * Posts a record once.
   * @param body the JSON text of the record
   * @param idempotencyKey the same for every call that means the same write
   * @param signal gives the call up; its outcome is unknown then
   */
  async post(body: string, idempotencyKey: string, signal?: AbortSignal): Promise<CatalogAnswer> {
    const reply = await this.#call(
      this.#address.collection,
      { method: 'POST', body, idempotencyKey },
      signal,
    );
    if ('failure' in reply) return { kind: 'unknown', reason: reply.failure };
    const answer = answerOf(reply);
    if (answer.kind === 'rejected') return { ...answer, message: this.#safe(answer.message) };
    if (answer.kind === 'unknown') return { ...answer, reason: this.#safe(answer.reason) };
    return answer;
  }

  /** Asks for the record of an id: the record, `absent` on a 404, `unknown` on anything else. */
  async find(id: string, signal?: AbortSignal): Promise<CatalogFinding> {
    const url = this.#recordUrl(id);
    if (url === undefined) return { unknown: 'this id cannot be asked for: it is no part of a URL path' };
    const reply = await this.#call(url, { method: 'GET' }, signal);
    if ('failure' in reply) return { unknown: reply.failure };
    const finding = findingOf(reply);
    return 'unknown' in finding ? { ...finding, unknown: this.#safe(finding.unknown) } : finding;
  }

  /** undefined for an id that a URL would swallow (`''`, `.`, `..`) or cannot carry (half a surrogate pair). */
  #recordUrl(id: string): URL | undefined {
    if (id === '' || id === '.' || id === '..' || /\p{Cs}/u.test(id)) return undefined;
    const url = new URL(this.#address.collection);
    url.pathname += `/${encodeURIComponent(id)}`;
    return url;
  }

  async #call(
    url: URL,
    request: { method: string; body?: string; idempotencyKey?: string },
    signal: AbortSignal | undefined,
  ): Promise<CatalogReply | { failure: string }> {
    if (signal?.aborted) return { failure: 'the call was given up before it began' };
    return withinLimit(this.#timeoutMs, signal, async (limit) => {
      try {
        const response = await fetch(url, {
          method: request.method,
          headers: this.#headers(request.idempotencyKey),
          redirect: 'manual',
          signal: limit,
          ...(request.body !== undefined && { body: request.body }),
        });
        const text = await readReply(response, this.#maxReplyBytes);
        return { status: response.status, text, retryAfter: response.headers.get('retry-after') };
      } catch (error) {
        if (signal?.aborted) return { failure: 'the call was given up' };
        return {
          failure: limit.aborted ? `no reply within ${this.#timeoutMs} ms` : this.#safe(this.#failure(error)),
        };
      }
    });
  }

  #headers(idempotencyKey: string | undefined): Record<string, string> {
    const { authorization } = this.#address;
    return {
      accept: 'application/json',
      ...(authorization !== undefined && { authorization }),
      ...(idempotencyKey !== undefined && {
        'content-type': 'application/json',
        'idempotency-key': idempotencyKey,
      }),
    };
  }

  #failure(error: unknown): string {
    if (error instanceof ReplyTooLargeError) return error.message;
    // fetch says only 'fetch failed'; what happened is its cause.
    const { code, message } = ((error as { cause?: unknown }).cause ?? error) as {
      code?: unknown;
      message?: unknown;
    };
    const said = typeof message === 'string' && message !== '' ? message : 'the call failed';
    return typeof code === 'string' ? `${said} (${code})` : said;
  }

  #safe(text: string): string {
    return safeText(text, this.#address.secrets);
  }
}
