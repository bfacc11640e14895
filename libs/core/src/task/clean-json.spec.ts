import { describe, expect, test } from '@jest/globals';
import { cleanJson, cleanResult, cleanText, type Json, MAX_RESULT_BYTES } from './clean-json.js';

/** Whether Postgres would take it as jsonb: no NUL and no half of a surrogate pair, in keys or values. */
function isStorable(value: Json): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\u0000');
  if (Array.isArray(value)) return value.every(isStorable);
  if (value === null || typeof value !== 'object') return true;
  return Object.entries(value).every(([key, part]) => isStorable(key) && isStorable(part));
}

/** Every text of at most `length` characters out of `alphabet`. */
function texts(alphabet: string[], length: number): string[] {
  if (length === 0) return [''];
  const shorter = texts(alphabet, length - 1);
  return [
    ...shorter,
    ...shorter.filter((t) => t.length === length - 1).flatMap((t) => alphabet.map((c) => t + c)),
  ];
}

const NASTY = ['a', '\u0000', '\ud83d', '\ude00', '\uffff', '\\', '"'];

describe('a cleaned text', () => {
  test.each([
    ['a\u0000b', 'a\uFFFDb'],
    ['\u0000\u0000', '\uFFFD\uFFFD'],
    ['\ud800', '\uFFFD'],
    ['x\udc00y', 'x\uFFFDy'],
    ['\ude00\ud83d', '\uFFFD\uFFFD'],
  ])('has U+FFFD for what Postgres cannot store: %j', (text, clean) => {
    expect(cleanText(text)).toBe(clean);
  });

  test.each(['', 'plain', 'é ü 漢', '😀', '\t\r\n\u001f\u007f', '\uFFFD', '\\u0000'])(
    'leaves %j as it is',
    (text) => {
      expect(cleanText(text)).toBe(text);
    },
  );

  test('is storable, of the same length, and not changed by a second cleaning, for every short text', () => {
    const all = texts(NASTY, 4);
    expect(all).toHaveLength(1 + 7 + 49 + 343 + 2401);
    const wrong = all.filter((text) => {
      const clean = cleanText(text);
      return !isStorable(clean) || clean.length !== text.length || cleanText(clean) !== clean;
    });
    expect(wrong).toEqual([]);
  });
});

describe('a cleaned value', () => {
  test.each<[string, unknown, Json]>([
    ['a text', 'a\u0000', 'a\uFFFD'],
    ['a key', { 'k\u0000': 1, '\ud800': 2 }, { 'k\uFFFD': 1, '\uFFFD': 2 }],
    ['texts deep down', { list: [{ deep: ['\udc00'] }] }, { list: [{ deep: ['\uFFFD'] }] }],
    ['a BigInt', { n: 2n ** 70n, list: [-1n] }, { n: '1180591620717411303424', list: ['-1'] }],
    ['a BigInt alone', 7n, '7'],
    ['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['numbers that JSON lacks', [Number.NaN, Number.POSITIVE_INFINITY, -0], [null, null, 0]],
    [
      'holes and functions',
      { gone: undefined, f: () => 1, kept: [undefined, () => 1] },
      { kept: [null, null] },
    ],
    ['a value with toJSON', { toJSON: () => ({ said: '\u0000' }) }, { said: '\uFFFD' }],
    ['a map', new Map([[1, 2]]), {}],
    ['null', null, null],
    ['false', false, false],
    ['zero', 0, 0],
    ['an empty text', '', ''],
  ])('holds %s as jsonb can', (_what, value, clean) => {
    expect(cleanJson(value)).toEqual(clean);
  });

  test.each([undefined, () => 1, Symbol('s')])('is undefined for what JSON leaves out', (value) => {
    expect(cleanJson(value)).toBeUndefined();
  });

  test('is a copy: the original stays as it was', () => {
    const value = { list: ['\u0000'] };
    const clean = cleanJson(value);
    expect(value).toEqual({ list: ['\u0000'] });
    expect(clean).not.toBe(value);
  });

  test('keeps a key called __proto__ as data', () => {
    const clean = cleanJson(JSON.parse('{"__proto__": {"admin": true}}'));
    expect(JSON.stringify(clean)).toBe('{"__proto__":{"admin":true}}');
    expect((clean as { admin?: unknown }).admin).toBeUndefined();
  });

  test('is storable whatever short texts stand in its keys and values', () => {
    const left = texts(NASTY, 3).filter((text) => {
      const clean = cleanJson({ [text]: [text, { [text]: text }] });
      return clean === undefined || !isStorable(clean);
    });
    expect(left).toEqual([]);
  });

  test('throws a TypeError on a cycle', () => {
    const value: Record<string, unknown> = {};
    value['self'] = value;
    expect(() => cleanJson(value)).toThrow(TypeError);
  });
});

describe('a result', () => {
  test.each([undefined, () => 1])('is undefined when there is nothing to keep', (value) => {
    expect(cleanResult(value)).toBeUndefined();
  });

  test('is cleaned', () => {
    expect(cleanResult({ a: '\u0000' })).toEqual({ a: '\uFFFD' });
  });

  test('may have 64 KiB of JSON and not one byte more', () => {
    expect(MAX_RESULT_BYTES).toBe(65_536);
    expect(cleanResult('x'.repeat(MAX_RESULT_BYTES - 2))).toHaveLength(MAX_RESULT_BYTES - 2);
    expect(() => cleanResult('x'.repeat(MAX_RESULT_BYTES - 1))).toThrow(RangeError);
  });

  test('is measured in bytes of UTF-8, not in characters', () => {
    expect(() => cleanResult('é'.repeat(MAX_RESULT_BYTES / 2))).toThrow(RangeError);
  });

  test('is measured after the cleaning', () => {
    // One NUL is six bytes as an escape, and three as U+FFFD.
    const count = Math.floor((MAX_RESULT_BYTES - 2) / 3);
    expect(cleanResult('\u0000'.repeat(count))).toBe('\uFFFD'.repeat(count));
  });

  test('is measured with the undefined parts left out', () => {
    expect(cleanResult({ a: undefined, f: () => 'x'.repeat(MAX_RESULT_BYTES) })).toEqual({});
  });

  test('that is too large is refused with both sizes', () => {
    expect(() => cleanResult('x'.repeat(70_000))).toThrow(
      'The result has 70002 bytes of JSON; at most 65536 are kept.',
    );
  });

  test('with a cycle throws a TypeError', () => {
    const value: unknown[] = [];
    value.push(value);
    expect(() => cleanResult(value)).toThrow(TypeError);
  });
});
