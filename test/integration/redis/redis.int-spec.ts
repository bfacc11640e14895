import { afterEach, expect, test } from '@jest/globals';
import { loadConfig } from '@app/platform/config/config.js';
import type { Logger } from '@app/platform/observability/logger.js';
import { Redis } from '@app/platform/redis/redis.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { Proxy } from '../../faults/harness/proxy.js';

const { url, prefix } = testRedis();
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A client as a service has it, and what it logs. */
function open(redisUrl: string): { redis: Redis; said: string[] } {
  const config = loadConfig({
    SERVICE_TYPE: 'api',
    DATABASE_URL: 'postgresql://127.0.0.1/none',
    REDIS_URL: redisUrl,
    REDIS_PREFIX: prefix,
  });
  const said: string[] = [];
  const logger = { warn: (_fields: object, text: string) => said.push(text), info: () => {} };
  return { redis: new Redis(config, logger as unknown as Logger), said };
}

test('who stops sends no hints any more, and says nothing of it in a log that has ended', async () => {
  const { redis, said } = open(url);
  await eventually(() => expect(redis.ready).toBe(true));
  const sending = redis.publish('cancel', { jobId: 'x' });
  await redis.onModuleDestroy();
  await Promise.all([sending, redis.publish('cancel', { jobId: 'x' })]);
  expect(said).toEqual([]);
});

test('a script is not waited for beyond its deadline, which is shorter than that of a command', async () => {
  const proxy = await Proxy.start(Number(new URL(url).port), 'redis');
  closing.push(() => proxy.stop());
  const { redis } = open(`redis://127.0.0.1:${proxy.port}`);
  closing.unshift(() => redis.onModuleDestroy());
  await eventually(() => expect(redis.ready).toBe(true));
  const spend = () => redis.evaluate('return tonumber(ARGV[1])', 'spend', [7], 50);
  expect(await eventually(spend)).toBe(7);
  proxy.silent = true;
  // In the words of the deadline: a command that is given up says something else.
  await expect(spend()).rejects.toThrow('Redis did not answer in time.');
});
