import { Global, Module } from '@nestjs/common';
import { Redis } from './redis.js';

/** Provides Redis as a messenger. Imported by whoever uses it, and so closed after all of them. */
@Global()
@Module({ providers: [Redis], exports: [Redis] })
export class RedisModule {}
