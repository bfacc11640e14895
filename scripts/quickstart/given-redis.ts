import { Redis } from 'ioredis';
import { LocalStackError } from '../local/types.js';

const CONNECT_MS = 5000;

/** Looks once whether a Redis that was given answers: the service itself would wait for it without an end. */
export async function assertReachable(redisUrl: string): Promise<void> {
  if (!URL.canParse(redisUrl) || !/^rediss?:$/.test(new URL(redisUrl).protocol)) {
    throw new LocalStackError('REDIS_URL must look like redis://127.0.0.1:6379.');
  }
  const redis = new Redis(redisUrl, {
    lazyConnect: true,
    connectTimeout: CONNECT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let reason = '';
  redis.on('error', (error: NodeJS.ErrnoException) => {
    reason = error.code ?? error.message;
  });
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    const { message } = error as Error;
    throw new LocalStackError(`The Redis of REDIS_URL cannot be reached (${reason || message}).`, {
      cause: error,
    });
  } finally {
    redis.disconnect();
  }
}
