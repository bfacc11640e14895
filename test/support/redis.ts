import { randomUUID } from 'node:crypto';
import { fromGlobalSetup } from './environment.js';

/** The run's Redis, and a prefix of keys and channels that no other test uses. */
export interface TestRedis {
  url: string;
  prefix: string;
}

/** Redis is shared by all test files of a run: never FLUSHALL, keep to the prefix. */
export function testRedis(): TestRedis {
  return { url: fromGlobalSetup('LONGHAUL_TEST_REDIS_URL'), prefix: `test-${randomUUID()}` };
}
