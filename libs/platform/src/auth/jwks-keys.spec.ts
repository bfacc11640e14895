import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeProtectedHeader, type FlattenedJWSInput } from 'jose';
import { eventually } from '../../../../test/support/eventually.js';
import { IdentityProvider } from '../../../../test/support/identity-provider.js';
import { createLogger } from '../observability/logger.js';
import { AuthUnavailableError } from './auth-errors.js';
import { JwksKeys } from './jwks-keys.js';

let provider: IdentityProvider;

beforeEach(async () => {
  provider = await IdentityProvider.start('ES256');
});
afterEach(async () => {
  await provider.down();
});

const keysWith = (times: ConstructorParameters<typeof JwksKeys>[2] = {}, log: string[] = []) =>
  new JwksKeys(provider.url, createLogger('warn', {}, { write: (line: string) => log.push(line) }), times);

/** What is found for a token of one of the provider's keys. */
async function find(keys: JwksKeys, at = 0): Promise<string> {
  const { alg, kid } = decodeProtectedHeader(await provider.sign({}, {}, provider.keys[at]));
  try {
    await keys.find({ alg: alg!, kid: kid! }, undefined as unknown as FlattenedJWSInput);
    return 'found';
  } catch (error) {
    return error instanceof AuthUnavailableError ? 'unavailable' : (error as { code: string }).code;
  }
}
const NONE = 'ERR_JWKS_NO_MATCHING_KEY';

describe('the keys of an identity provider', () => {
  test('are asked for once, also by many at once, and then known', async () => {
    const keys = keysWith();
    expect(await Promise.all([1, 2, 3].map(() => find(keys)))).toEqual(['found', 'found', 'found']);
    expect(await find(keys)).toBe('found');
    expect(provider.requests).toBe(1);
  });

  test('are asked for again when a token names another one, and not again for a while', async () => {
    const keys = keysWith({ cooldown: 0 });
    await find(keys);
    await provider.addKey('second', 'ES256');
    expect(await find(keys, 1)).toBe('found');
    expect(provider.requests).toBe(2);
    const slow = keysWith();
    await find(slow);
    await provider.addKey('third', 'ES256');
    expect([await find(slow, 2), await find(slow, 2)]).toEqual([NONE, NONE]);
    expect(provider.requests).toBe(3);
  });

  test('are not asked for by a new key soon after an answer: until then that is no key of theirs, and not unknown', async () => {
    const keys = keysWith({ cooldown: 3_600_000 });
    await find(keys);
    await provider.addKey('rotated', 'ES256');
    expect(await find(keys, 1)).toBe(NONE);
    await provider.down();
    expect([await find(keys, 1), await find(keys)]).toEqual([NONE, 'found']);
    await provider.up();
    expect(provider.requests).toBe(1);
  });

  test('are asked for again after their time, while those that are known serve', async () => {
    const keys = keysWith({ fresh: 0, cooldown: 0 });
    await find(keys);
    await provider.addKey('second', 'ES256');
    expect(await find(keys)).toBe('found');
    await eventually(() => expect(provider.requests).toBeGreaterThan(1));
    provider.keys.shift();
    await eventually(async () => expect(await find(keys, 0)).toBe('found'));
  });

  test('serve on while it is away, but not for ever; whether another key is right is not known then', async () => {
    const keys = keysWith({ fresh: 0, cooldown: 0, kept: 60_000 });
    const brief = keysWith({ kept: 500, cooldown: 0 });
    await Promise.all([find(keys), find(brief)]);
    await provider.down();
    await provider.addKey('second', 'ES256');
    for (let round = 0; round < 3; round++) expect(await find(keys)).toBe('found');
    expect(await find(keys, 1)).toBe('unavailable');
    expect(await find(keys)).toBe('found');
    await eventually(async () => expect(await find(brief)).toBe('unavailable'));
    await provider.up();
  });

  test('are not known while it was never reached; it is asked again after a short pause', async () => {
    const keys = keysWith({ retry: 300 });
    await provider.down();
    expect([await find(keys), await find(keys)]).toEqual(['unavailable', 'unavailable']);
    await provider.up();
    await eventually(async () => expect(await find(keys)).toBe('found'));
    expect(provider.requests).toBe(1);
  });
});

describe('an answer that has no keys', () => {
  test.each<[string, NonNullable<IdentityProvider['instead']>]>([
    ['is an error', (_request, response) => response.writeHead(500).end()],
    ['leads elsewhere', (_request, response) => response.writeHead(302, { location: '/keys2' }).end()],
    ['is no JSON', (_request, response) => void response.end('canary')],
    ['is null', (_request, response) => void response.end('null')],
    ['is a set of none', (_request, response) => void response.end('{"keys":[]}')],
    ['is a set of what are none', (_request, response) => void response.end('{"keys":["canary"]}')],
    ['is too large', (_request, response) => void response.end(`{"keys":[{"x":"${'a'.repeat(300_000)}"}]}`)],
    ['never ends', (_request, response) => void response.write('{"keys":[')],
    ['never begins', () => {}],
  ])(
    'because it %s leaves it open who is right, is told in the log, and takes nothing away',
    async (what, instead) => {
      const log: string[] = [];
      // Of use only where there is no answer, and long enough for one that is good.
      const timeout = what.startsWith('never') ? 2_000 : 20_000;
      const keys = keysWith({ timeout, retry: 0, cooldown: 0 }, log);
      provider.instead = instead;
      expect(await find(keys)).toBe('unavailable');
      expect(provider.requests).toBe(1);
      expect(log).toHaveLength(1);
      expect(log.join()).toMatch(/the keys of JWT_JWKS_URL cannot be read/);
      expect(log.join()).not.toContain('canary');
      provider.instead = undefined;
      expect(await find(keys)).toBe('found');
      provider.instead = instead;
      await provider.addKey('second', 'ES256');
      expect([await find(keys, 1), await find(keys)]).toEqual(['unavailable', 'found']);
    },
    30_000,
  );
});
