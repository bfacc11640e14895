/** One call under /metadata, in the order of arrival. */
export interface LoggedRequest {
  /** ISO time of arrival, UTC */
  readonly at: string;
  readonly method: string;
  readonly path: string;
  readonly idempotencyKey: string | null;
  /** whether an Authorization header was there; its value is never kept */
  readonly authorization: boolean;
  /** the raw body, '' when there was none or it was too large */
  readonly body: string;
  /** the status answered; null while unanswered, and for ever when the call hung or its connection was broken */
  status: number | null;
  /** whether this call changed the records */
  applied: boolean;
}

const KEPT_ENTRIES = 20_000;
const KEPT_BODY_CHARS = 64 * 1024 * 1024;

/** What was asked of the catalog. Appends only; the oldest entries go when it holds too many or too much text. */
export class RequestLog {
  readonly #entries: LoggedRequest[] = [];
  readonly #maxEntries: number;
  readonly #maxBodyChars: number;
  #bodyChars = 0;

  constructor(maxEntries = KEPT_ENTRIES, maxBodyChars = KEPT_BODY_CHARS) {
    this.#maxEntries = maxEntries;
    this.#maxBodyChars = maxBodyChars;
  }

  /** The live list: it grows while calls come in, and an entry's status appears when it is answered. */
  get entries(): readonly LoggedRequest[] {
    return this.#entries;
  }

  append(entry: LoggedRequest): void {
    this.#entries.push(entry);
    this.#bodyChars += entry.body.length;
    while (this.#entries.length > this.#maxEntries || this.#bodyChars > this.#maxBodyChars) {
      const oldest = this.#entries.shift();
      if (!oldest) return;
      this.#bodyChars -= oldest.body.length;
    }
  }
}
