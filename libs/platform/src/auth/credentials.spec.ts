import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { KeysInMemory, noTickets } from '../../../../test/support/keys-in-memory.js';
import type { ApiKeyStore } from '../prisma/api-key-store.js';
import { createApiKey } from './api-key.js';
import { AddressNotAllowedError } from './auth-errors.js';
import { Credentials } from './credentials.js';
import { findPrincipal } from './principal.js';

let keys: KeysInMemory;
let credentials: Credentials;

beforeEach(() => {
  jest.useFakeTimers({ now: Date.UTC(2030, 0, 1) });
  keys = new KeysInMemory();
  credentials = new Credentials(keys as unknown as ApiKeyStore, noTickets, null);
});
afterEach(() => {
  jest.useRealTimers();
});

describe('a key that is limited to addresses (input 9)', () => {
  const allowedCidrs = ['10.0.0.0/8', '2001:db8::7'];

  test.each(['10.1.2.3', '::ffff:10.1.2.3', '2001:db8::7'])('is taken from %s', async (ip) => {
    const { text } = keys.add(['admin'], { allowedCidrs });
    const request = { headers: { 'x-api-key': text }, ip };
    expect((await credentials.principalOf(request)).ownerId).toBe('ann');
  });

  test.each(['11.0.0.1', '::ffff:11.0.0.1', '2001:db8::8', '', 'unknown', undefined])(
    'is not taken from %s, and it is known whose it is',
    async (ip) => {
      const { id, text } = keys.add(['admin'], { allowedCidrs });
      const request = { headers: { 'x-api-key': text }, ...(ip === undefined ? {} : { ip }) };
      await expect(credentials.principalOf(request)).rejects.toThrow(AddressNotAllowedError);
      expect(findPrincipal(request)?.actor).toBe(`key:${id}`);
    },
  );
});

const principalOf = (text: string) =>
  credentials.principalOf({ headers: { 'x-api-key': text }, ip: '10.0.0.1' });

describe('many made-up keys from one address (input 23)', () => {
  test('are not all looked up, while keys that were right before are', async () => {
    const right = keys.add(['admin']).text;
    const unseen = keys.add(['admin']).text;
    await principalOf(right);
    jest.advanceTimersByTime(3_000);
    keys.queries = [];
    const flood = Array.from({ length: 2000 }, () =>
      principalOf(createApiKey().text).catch((error) => error),
    );
    const again = principalOf(right);
    expect(new Set((await Promise.all(flood)).map(({ name }) => name))).toEqual(
      new Set(['UnauthenticatedError', 'TooManyFailuresError']),
    );
    expect((await again).ownerId).toBe('ann');
    // A hundred at once, a hundred in turn, and the one that is known.
    expect(keys.queries).toHaveLength(201);
    expect((await principalOf(unseen)).ownerId).toBe('ann');
  });
});
