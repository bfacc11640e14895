const LONGEST_MESSAGE_CHARS = 500;

/** Control characters, line separators and direction marks: what can forge a log line or break a column. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu;

/** `user:password@` of any URL in a text; the scheme is bounded, or a long text would take quadratic time */
const URL_CREDENTIALS = /(\b[a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@]+@/gi;

/**
 * A text from outside, fit to be stored and shown: one line, at most 500 characters, with every one of `secrets`
 * and the credentials of every URL replaced.
 */
export function safeText(text: string, secrets: readonly string[]): string {
  let safe = text.toWellFormed();
  // The longest first: a secret may be a part of another. Before the rest, which may change what a secret is known by.
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) {
    safe = safe.replaceAll(secret, '[hidden]');
  }
  safe = safe.replace(UNPRINTABLE, ' ').replace(URL_CREDENTIALS, '$1[hidden]@').trim();
  if (safe.length <= LONGEST_MESSAGE_CHARS) return safe;
  // A pair of surrogates cut in two would leave half a character.
  return `${safe.slice(0, LONGEST_MESSAGE_CHARS - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
