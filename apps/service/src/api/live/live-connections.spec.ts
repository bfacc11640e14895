import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { Config } from '@app/platform/config/config.js';
import type { Logger } from '@app/platform/observability/logger.js';
import type { ApiKeyStore } from '@app/platform/prisma/api-key-store.js';
import { type LiveConnection, LiveConnections } from './live-connections.js';

beforeEach(() => {
  jest.useFakeTimers({ now: Date.UTC(2030, 0, 1) });
});
afterEach(() => {
  jest.useRealTimers();
});

test('while Postgres does not answer, tokens end in time, and one question waits', async () => {
  let asked = 0;
  const keys = { valid: () => new Promise(() => asked++) } as unknown as ApiKeyStore;
  const connections = new LiveConnections(keys, {} as Config, {} as Logger);
  const ended: string[] = [];
  const open = (name: string, more: object): LiveConnection => ({
    principal: { ownerId: 'ann', actor: name, scopes: [], ...more },
    end: (why) => ended.push(`${name} ${why}`),
    terminate: () => {},
  });
  connections.add(open('key', { keyId: 'k' }));
  connections.add(open('token', { expiresAt: new Date(Date.now() + 5000) }));
  await jest.advanceTimersByTimeAsync(4000);
  expect(ended).toEqual([]);
  await jest.advanceTimersByTimeAsync(2000);
  expect([ended, asked]).toEqual([['token expired'], 1]);
});
