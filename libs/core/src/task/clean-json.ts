/** Any value that JSON can hold. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Bytes of JSON that a task's or a job's result may have. */
export const MAX_RESULT_BYTES = 64 * 1024;

/**
 * Text that Postgres can store: NUL becomes U+FFFD, and so does half a surrogate pair.
 */
export function cleanText(text: string): string {
  return text.toWellFormed().replaceAll('\u0000', '\uFFFD');
}

/**
 * A copy of `value` that can be stored as jsonb: text cleaned, BigInt as decimal text, undefined and
 * functions left out as JSON does. Returns undefined for a value that JSON leaves out altogether.
 * @throws {TypeError} on a value with a cycle.
 */
export function cleanJson(value: unknown): Json | undefined {
  const text = JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === 'bigint') return part.toString();
    return part;
  });
  if (text === undefined) return undefined;
  // Escapes such as \u0000 and \ud800 only show after parsing, in keys as well as in values.
  return cleanParsed(JSON.parse(text) as Json);
}

function cleanParsed(value: Json): Json {
  if (typeof value === 'string') return cleanText(value);
  if (Array.isArray(value)) return value.map(cleanParsed);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, part]) => [cleanText(key), cleanParsed(part)]),
    );
  }
  return value;
}

/**
 * The result of a handler, made storable.
 * @throws {RangeError} when it is larger than MAX_RESULT_BYTES; {TypeError} on a cycle.
 */
export function cleanResult(value: unknown): Json | undefined {
  const clean = cleanJson(value);
  if (clean === undefined) return undefined;
  const bytes = Buffer.byteLength(JSON.stringify(clean));
  if (bytes > MAX_RESULT_BYTES) {
    throw new RangeError(`The result has ${bytes} bytes of JSON; at most ${MAX_RESULT_BYTES} are kept.`);
  }
  return clean;
}
