/** What the Catalog said to a posted record. */
export type CatalogAnswer =
  /** a 2xx; `recordId` is the `id` of the record in the reply, null when the reply names none */
  | { kind: 'accepted'; recordId: string | null }
  /** a 4xx that says no to this very record; repeating it would change nothing */
  | { kind: 'rejected'; status: number; message: string }
  /** anything else: the record may or may not have been written */
  | { kind: 'unknown'; reason: string; retryAfterMs?: number };

/** What the Catalog knows under an id. `found` is the record as parsed from JSON. */
export type CatalogFinding =
  { found: unknown } | { absent: true } | { unknown: string; retryAfterMs?: number };

/** A reply read to its end. */
export interface CatalogReply {
  status: number;
  text: string;
  retryAfter: string | null;
}

/**
 * 4xx that speak of the caller, the route or the moment, not of the record: a wrong token, a wrong path during a
 * deployment, a slow upload, a limit. They pass without the record being changed.
 */
const PASSING_4XX = new Set([401, 403, 404, 408, 425, 429]);

/** The answer that a reply to a POST amounts to. Its texts are raw: clean them before they leave. */
export function answerOf(reply: CatalogReply): CatalogAnswer {
  const { status } = reply;
  if (status >= 200 && status < 300) return { kind: 'accepted', recordId: recordIdOf(reply.text) };
  if (status >= 400 && status < 500 && !PASSING_4XX.has(status)) {
    return { kind: 'rejected', status, message: messageOf(reply) };
  }
  return { kind: 'unknown', reason: messageOf(reply), ...retryAfterOf(reply) };
}

/** The finding that a reply to a GET of one id amounts to. Its texts are raw: clean them before they leave. */
export function findingOf(reply: CatalogReply): CatalogFinding {
  if (reply.status === 404) return { absent: true };
  if (reply.status !== 200) return { unknown: messageOf(reply), ...retryAfterOf(reply) };
  const found = parse(reply.text);
  return isObject(found) ? { found } : { unknown: 'the Catalog answered 200 without a JSON record' };
}

/** The status, and what the body says about it. */
function messageOf({ status, text }: CatalogReply): string {
  const json = parse(text);
  const said = isObject(json)
    ? ['message', 'detail', 'title', 'error']
        .map((key) => json[key])
        .find((value) => typeof value === 'string')
    : undefined;
  const detail = typeof said === 'string' ? said : text;
  return detail.trim() === ''
    ? `the Catalog answered ${status}`
    : `the Catalog answered ${status}: ${detail}`;
}

function recordIdOf(text: string): string | null {
  const json = parse(text);
  return isObject(json) && typeof json['id'] === 'string' ? json['id'] : null;
}

const LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** Retry-After in seconds or as an HTTP date, in ms from now, at most a day; nothing when absent or unreadable. */
function retryAfterOf({ retryAfter }: CatalogReply): { retryAfterMs?: number } {
  if (retryAfter === null || retryAfter.trim() === '') return {};
  // Date.parse alone would find a date in '-5' or '1.5'.
  const date = / GMT\s*$/.test(retryAfter) ? Date.parse(retryAfter) : Number.NaN;
  const ms = /^\s*\d+\s*$/.test(retryAfter) ? Number(retryAfter) * 1000 : date - Date.now();
  return Number.isNaN(ms) ? {} : { retryAfterMs: Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
