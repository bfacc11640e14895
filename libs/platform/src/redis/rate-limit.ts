import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '../config/config.module.js';
import type { Config } from '../config/config.js';
import { Redis } from './redis.js';

/** How long a request waits for Redis, in milliseconds; then it is judged here. */
const DEADLINE_MS = 50;

/** How long Redis is not asked again after it has not answered in time: nobody else shall wait for it. */
const SPARED_MS = 1000;

/** Owners that are remembered here; the oldest are forgotten first. */
const MOST_OWNERS = 10_000;

/**
 * A bucket as one number: the time at which it will be full again. Answers for how many milliseconds the next request has
 * to wait; 0: it was let through, and has taken its part.
 */
const SPEND = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
local wait = full - burst * interval - now
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now))
return 0`;

/** Requests of an owner, over all processes; by each process alone while Redis is away. */
@Injectable()
export class RateLimit {
  /** When the bucket of an owner is full again, by `performance.now()`. */
  private readonly buckets = new Map<string, number>();
  private sparedUntil = 0;

  constructor(
    private readonly redis: Redis,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** Lets a request of an owner through: 0. Or not: the milliseconds until the next one is. */
  async spend(ownerId: string): Promise<number> {
    const { RATE_LIMIT: rate, RATE_BURST: burst = 2 * (rate ?? 0) } = this.config;
    if (rate === undefined) return 0;
    const interval = 1000 / rate;
    if (this.redis.ready && performance.now() >= this.sparedUntil) {
      try {
        const key = `rate:${ownerId}`;
        const wait = Number(await this.redis.evaluate(SPEND, key, [interval, burst], DEADLINE_MS));
        // Taken from the bucket that is kept here too, for when Redis goes away.
        if (wait === 0) this.spendHere(ownerId, interval, burst);
        return wait;
      } catch {
        this.sparedUntil = performance.now() + SPARED_MS;
      }
    }
    return this.spendHere(ownerId, interval, burst);
  }

  private spendHere(ownerId: string, interval: number, burst: number): number {
    const now = performance.now();
    const full = Math.max(this.buckets.get(ownerId) ?? now, now) + interval;
    const wait = full - burst * interval - now;
    if (wait > 0) return Math.ceil(wait);
    // Anew, so that it is the youngest.
    this.buckets.delete(ownerId);
    this.buckets.set(ownerId, full);
    const [oldest] = this.buckets.keys();
    if (this.buckets.size > MOST_OWNERS && oldest !== undefined) this.buckets.delete(oldest);
    return 0;
  }
}
