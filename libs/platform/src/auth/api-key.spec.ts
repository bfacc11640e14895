import { describe, expect, test } from '@jest/globals';
import { createApiKey, hashSecret, parseApiKey, SCOPES } from './api-key.js';

const LETTERS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Worked out with another implementation of CRC-32, so that stored keys stay valid. */
const KNOWN = 'lh_AAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB_70412421';

describe('a new API key', () => {
  test('is written as lh, id, secret and checksum', () => {
    const { id, secret, text } = createApiKey();
    expect(text).toMatch(/^lh_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}_[0-9a-f]{8}$/);
    expect(text.startsWith(`lh_${id}_${secret}_`)).toBe(true);
  });

  test('is read back into the same id and secret, every time', () => {
    for (let round = 0; round < 500; round++) {
      const { id, secret, text } = createApiKey();
      expect(parseApiKey(text)).toEqual({ id, secret });
    }
  });

  test('is never made twice', () => {
    const keys = Array.from({ length: 1_000 }, createApiKey);
    expect(new Set(keys.map((key) => key.id)).size).toBe(1_000);
    expect(new Set(keys.map((key) => key.secret)).size).toBe(1_000);
  });

  test('uses each of the 62 letters about equally often', () => {
    const counts = new Map<string, number>();
    for (let round = 0; round < 2_000; round++) {
      for (const letter of createApiKey().secret) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    }
    // 86 000 draws: 1387 of each letter, deviation 37. Bytes taken modulo 62 would give the first eight 25 % more.
    expect([...counts.keys()].toSorted().join('')).toBe(LETTERS);
    for (const count of counts.values()) expect(Math.abs(count - 1387)).toBeLessThan(240);
  });
});

describe('reading an API key', () => {
  const { text } = createApiKey();

  test('accepts a key that was made long ago', () => {
    expect(parseApiKey(KNOWN)).toEqual({ id: 'AAAAAAAA', secret: 'B'.repeat(43) });
  });

  /** What is taken for a key among texts that are none. */
  const accepted = (wrong: string[]) => wrong.filter((one) => one !== text && parseApiKey(one) !== undefined);
  const places = Array.from({ length: text.length }, (_, at) => at);

  test('finds any one letter mistyped, wherever it stands', () => {
    const mistyped = places.flatMap((at) =>
      [...`${LETTERS}_- `].map((letter) => text.slice(0, at) + letter + text.slice(at + 1)),
    );
    expect(accepted(mistyped)).toEqual([]);
  });

  test('finds two neighbours that changed places', () => {
    const swapped = places
      .slice(1)
      .map((at) => `${text.slice(0, at - 1)}${text[at]}${text[at - 1]}${text.slice(at + 1)}`);
    expect(accepted(swapped)).toEqual([]);
  });

  test('finds a letter left out or written twice', () => {
    expect(accepted(places.map((at) => text.slice(0, at) + text.slice(at + 1)))).toEqual([]);
    expect(accepted(places.map((at) => text.slice(0, at + 1) + text.slice(at)))).toEqual([]);
  });

  test.each([
    ['nothing', ''],
    ['the prefix', 'lh_'],
    ['a space before', ` ${text}`],
    ['a space after', `${text} `],
    ['a line break after', `${text}\n`],
    ['two keys', `${text}, ${text}`],
    ['an upper-case prefix', text.replace('lh_', 'LH_')],
    ['a very long text', 'lh_'.repeat(100_000)],
  ])('refuses %s', (_what, wrong) => {
    expect(parseApiKey(wrong)).toBeUndefined();
  });
});

describe('the hash of a secret', () => {
  test('is its SHA-256 in hex, so that stored hashes stay valid', () => {
    expect(hashSecret('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

describe('the scopes', () => {
  test('are the documented ones', () => {
    expect(SCOPES).toEqual(['jobs:read', 'jobs:write', 'schedules:write', 'admin']);
  });
});
