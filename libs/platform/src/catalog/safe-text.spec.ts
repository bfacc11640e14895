import { describe, expect, test } from '@jest/globals';
import { safeText } from './safe-text.js';

const MOST = 500;

/** Every text of exactly `length` characters out of `alphabet`. */
function texts(alphabet: string, length: number): string[] {
  if (length === 0) return [''];
  return texts(alphabet, length - 1).flatMap((text) => [...alphabet].map((letter) => text + letter));
}

describe('a safe text', () => {
  test.each([
    '',
    'plain',
    'é ü 漢 😀',
    'a  b',
    '<b>',
    'http://host/path?a=b',
    'ann@example.org',
    '50 % [x] $& $1',
  ])('is %j as it was', (text) => {
    expect(safeText(text, [])).toBe(text);
  });

  test.each([
    ['a\nb', 'a b'],
    ['a\r\n\t\u0000b', 'a b'],
    ['\u001b[31mred', '[31mred'],
    ['a\u0085b\u2028c\u2029d', 'a b c d'],
    ['user\u202egpj.exe', 'user gpj.exe'],
    ['  a  ', 'a'],
    ['\n\n', ''],
  ])('of %j is one line', (text, safe) => {
    expect(safeText(text, [])).toBe(safe);
  });

  test('holds no character that could forge a line or turn the reading direction', () => {
    const forbidden = [0x200e, 0x200f, 0x2028, 0x2029, ...range(0x202a, 0x202e), ...range(0x2066, 0x2069)];
    for (const code of [...range(0x00, 0x1f), ...range(0x7f, 0x9f), ...forbidden]) {
      expect({ code, safe: safeText(`a${String.fromCharCode(code)}b`, []) }).toEqual({ code, safe: 'a b' });
    }
  });

  test('can be stored: half a surrogate pair becomes U+FFFD', () => {
    expect(safeText('a\ud800b', [])).toBe('a\uFFFDb');
    expect(safeText('\udc00', [])).toBe('\uFFFD');
    expect(safeText('\ude00\ud83d', [])).toBe('\uFFFD\uFFFD');
  });
});

describe('credentials of a URL', () => {
  test.each([
    ['http://ann:pw@host/x', 'http://[hidden]@host/x'],
    ['postgres://ann:pw@host:5432/db', 'postgres://[hidden]@host:5432/db'],
    ['HTTPS://KEY@host', 'HTTPS://[hidden]@host'],
    ['redis://:pw@host', 'redis://[hidden]@host'],
    ['git+ssh://a:b@h', 'git+ssh://[hidden]@h'],
    ['at http://a:b@h and "https://c:d@i"', 'at http://[hidden]@h and "https://[hidden]@i"'],
  ])('are hidden in %s', (text, safe) => {
    expect(safeText(text, [])).toBe(safe);
  });

  test('are looked for in linear time', () => {
    const before = process.cpuUsage();
    for (const part of ['a', 'a:', 'http://', 'http://a', 'a+', '\n']) safeText(part.repeat(200_000), []);
    // Of the processor: what else runs on the machine does not count.
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(2_000);
  });
});

describe('a secret', () => {
  test('is hidden wherever it stands, however often', () => {
    expect(safeText('s3 a s3, xs3y', ['s3'])).toBe('[hidden] a [hidden], x[hidden]y');
  });

  test('is taken literally, not as a pattern', () => {
    expect(safeText('a.c abc $& (x', ['a.c', '(x', '$&'])).toBe('[hidden] abc [hidden] [hidden]');
  });

  test('is hidden also when it is cut by the limit', () => {
    const secret = 'secret'.repeat(4);
    for (let before = MOST - 30; before <= MOST + 2; before++) {
      expect(safeText(`${'x'.repeat(before)}${secret} ${'y'.repeat(MOST)}`, [secret])).not.toContain(
        'secret',
      );
    }
  });

  test('is hidden although it holds a character that is not printed', () => {
    expect(safeText('with p\nw and p\u202ew', ['p\nw', 'p\u202ew'])).toBe('with [hidden] and [hidden]');
  });

  test('is hidden whole when another secret is a part of it, in whatever order they come', () => {
    expect(safeText('abcdef abc', ['abc', 'abcdef'])).toBe('[hidden] [hidden]');
    expect(safeText('abcdef abc', ['abcdef', 'abc'])).toBe('[hidden] [hidden]');
  });

  test('is nowhere in what is left, for every short text and two secrets', () => {
    const secrets = [1, 2, 3].flatMap((length) => texts('xy', length));
    const pairs = secrets.flatMap((first) => secrets.map((second) => [first, second]));
    const leaks = pairs.flatMap((pair) =>
      texts('xyz', 4)
        .map((text) => ({ pair, text, safe: safeText(text, pair) }))
        .filter(({ safe }) => pair.some((secret) => safe.includes(secret))),
    );
    expect(leaks).toEqual([]);
  });
});

describe('the limit of 500 characters', () => {
  test('leaves a text of 500 whole and ends a longer one with an ellipsis', () => {
    expect(safeText('x'.repeat(MOST), [])).toBe('x'.repeat(MOST));
    expect(safeText('x'.repeat(MOST + 1), [])).toBe(`${'x'.repeat(MOST - 1)}…`);
  });

  test('counts the text as it is shown', () => {
    expect(safeText(`${'\n'.repeat(1_000)}a`, [])).toBe('a');
    expect(safeText('s3'.repeat(100), ['s3'])).toHaveLength(MOST);
  });

  test('does not cut a character in two', () => {
    for (let before = MOST - 4; before <= MOST; before++) {
      const safe = safeText(`${'x'.repeat(before)}😀😀😀`, []);
      expect({ before, whole: safe.isWellFormed(), fits: safe.length <= MOST }).toEqual({
        before,
        whole: true,
        fits: true,
      });
    }
  });
});

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}
