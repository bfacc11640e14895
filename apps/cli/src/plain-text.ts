import { safeText } from '@app/platform/catalog/safe-text.js';

/** A text of the service as one line without anything that a terminal would obey. */
export function plain(text: string): string {
  return safeText(text, []);
}

/** JSON to read and to parse; what JSON leaves unescaped and a terminal could obey is escaped as well. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /[\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
