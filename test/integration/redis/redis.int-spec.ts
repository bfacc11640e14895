import { expect, test } from '@jest/globals';
import { loadConfig } from '@app/platform/config/config.js';
import type { Logger } from '@app/platform/observability/logger.js';
import { Redis } from '@app/platform/redis/redis.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

const { url, prefix } = testRedis();

test('who stops sends no hints any more, and says nothing of it in a log that has ended', async () => {
  const config = loadConfig({
    SERVICE_TYPE: 'api',
    DATABASE_URL: 'postgresql://127.0.0.1/none',
    REDIS_URL: url,
    REDIS_PREFIX: prefix,
  });
  const said: string[] = [];
  const logger = { warn: (_fields: object, text: string) => said.push(text), info: () => {} };
  const redis = new Redis(config, logger as unknown as Logger);
  await eventually(() => expect(redis.ready).toBe(true));
  const sending = redis.publish('cancel', { jobId: 'x' });
  await redis.onModuleDestroy();
  await Promise.all([sending, redis.publish('cancel', { jobId: 'x' })]);
  expect(said).toEqual([]);
});
