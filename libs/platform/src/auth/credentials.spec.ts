import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { KeysInMemory, noTickets } from '../../../../test/support/keys-in-memory.js';
import type { ApiKeyStore } from '../prisma/api-key-store.js';
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
