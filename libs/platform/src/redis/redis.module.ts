import { Global, Module } from '@nestjs/common';
import { RateLimit } from './rate-limit.js';
import { Redis } from './redis.js';

/** Provides Redis as a messenger. Imported by whoever uses it, and so closed after all of them. */
@Global()
@Module({ providers: [Redis, RateLimit], exports: [Redis, RateLimit] })
export class RedisModule {}
