import { describe, expect, test } from '@jest/globals';
import { catalogAddress } from './catalog-address.js';

const basic = (pair: string) => `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`;

describe('the collection of the Catalog', () => {
  test.each([
    ['http://catalog', 'http://catalog/metadata'],
    ['http://catalog/', 'http://catalog/metadata'],
    ['http://catalog:8080', 'http://catalog:8080/metadata'],
    ['https://catalog/api', 'https://catalog/api/metadata'],
    ['https://catalog/api/', 'https://catalog/api/metadata'],
    ['https://catalog/api///', 'https://catalog/api/metadata'],
    ['https://catalog/a%2Fb/c%20d', 'https://catalog/a%2Fb/c%20d/metadata'],
    ['http://catalog/api?x=1#y', 'http://catalog/api/metadata'],
    ['http://[::1]:80/api', 'http://[::1]/api/metadata'],
    ['HTTPS://Catalog', 'https://catalog/metadata'],
    ['http://ann:pw@catalog/api', 'http://catalog/api/metadata'],
  ])('of %s is %s', (base, collection) => {
    expect(catalogAddress(base, undefined).collection.href).toBe(collection);
  });

  test.each([
    'http://catalog//api',
    'http://catalog//evil.example/api',
    'http://catalog:81/////a',
    'http://catalog//',
  ])('stays on the host of %s, whatever its path', (base) => {
    const { collection } = catalogAddress(base, 'token');
    expect(collection.origin).toBe(new URL(base).origin);
    expect(collection.pathname.endsWith('/metadata')).toBe(true);
  });

  test('holds neither the token nor credentials', () => {
    const { href } = catalogAddress('http://ann:pw-1@catalog/api', 'token-1').collection;
    for (const secret of ['ann', 'pw-1', 'token-1']) expect(href).not.toContain(secret);
  });

  test.each([
    '',
    'catalog',
    '/metadata',
    'ftp://ann:pw-1@host',
    'file:///pw-1',
    'javascript:pw-1',
    'http://',
    '//pw-1',
  ])('is refused for %j, without a word of it', (base) => {
    let said: unknown;
    try {
      catalogAddress(base, undefined);
    } catch (error) {
      said = error;
    }
    expect(said).toEqual(new TypeError('The URL of the Catalog must be an http or https URL.'));
    expect((said as Error).cause).toBeUndefined();
  });
});

describe('the authorization', () => {
  test('is none without a token and without credentials', () => {
    const address = catalogAddress('http://catalog', undefined);
    expect(address.authorization).toBeUndefined();
    expect(address.secrets).toEqual([]);
  });

  test('is the token as a bearer', () => {
    const address = catalogAddress('http://catalog', 't0ken.~+/=');
    expect(address.authorization).toBe('Bearer t0ken.~+/=');
    expect(address.secrets).toEqual(['t0ken.~+/=']);
  });

  test.each([
    ['http://ann:pw@catalog', 'ann:pw'],
    ['http://ann@catalog', 'ann:'],
    ['http://:pw@catalog', ':pw'],
    ['http://a%3Ann:p%40w%2F%25@catalog', 'a:nn:p@w/%'],
    ['http://%C3%A9:%F0%9F%98%80@catalog', 'é:😀'],
    ['http://ann:50%25%zz@catalog', 'ann:50%25%zz'],
  ])('is Basic for the decoded credentials of %s', (base, pair) => {
    expect(catalogAddress(base, undefined).authorization).toBe(basic(pair));
  });

  test('is the token where credentials stand in the URL too', () => {
    expect(catalogAddress('http://ann:pw@catalog', 'token').authorization).toBe('Bearer token');
  });

  test.each(['', ' ', 'a b', 'tökén', 'a\nb', 'a\r\nX-Evil: 1', 'a\u0000', 'a\u007f', '漢'])(
    'is refused for the token %j, without a word of it',
    (token) => {
      expect(() => catalogAddress('http://catalog', token)).toThrow(
        new TypeError('The token of the Catalog must be printable ASCII without spaces.'),
      );
    },
  );

  test('takes every printable ASCII character in a token', () => {
    for (let code = 0; code < 256; code++) {
      const token = `a${String.fromCharCode(code)}b`;
      const taken = code > 0x20 && code < 0x7f;
      let authorization: string | undefined;
      try {
        ({ authorization } = catalogAddress('http://catalog', token));
      } catch {
        authorization = undefined;
      }
      expect({ code, authorization }).toEqual({ code, authorization: taken ? `Bearer ${token}` : undefined });
    }
  });
});

describe('what no message may contain', () => {
  test('is the password as written and as decoded, the pair, and its Basic form', () => {
    const { secrets } = catalogAddress('http://ann:p%40w@catalog', undefined);
    const encoded = basic('ann:p@w').slice('Basic '.length);
    expect(new Set(secrets)).toEqual(new Set(['p%40w', 'p@w', 'ann:p%40w', 'ann:p@w', encoded]));
  });

  test('is a user name that stands alone, since it is the secret then', () => {
    expect(catalogAddress('http://k%2Dey@catalog', undefined).secrets).toEqual(
      expect.arrayContaining(['k%2Dey', 'k-ey']),
    );
  });

  test('is not a user name beside a password', () => {
    expect(catalogAddress('http://ann:pw@catalog', undefined).secrets).not.toContain('ann');
  });

  test('is both the token and the credentials where both are given', () => {
    expect(catalogAddress('http://ann:pw@catalog', 'token').secrets).toEqual(
      expect.arrayContaining(['token', 'pw', 'ann:pw']),
    );
  });

  test('is never the empty text, which stands everywhere', () => {
    for (const user of ['', 'ann', '%20']) {
      for (const password of ['', 'pw', '%zz']) {
        for (const token of [undefined, 'token']) {
          const { secrets } = catalogAddress(`http://${user}:${password}@catalog`, token);
          expect(secrets).not.toContain('');
        }
      }
    }
  });
});
