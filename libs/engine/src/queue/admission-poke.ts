import { Injectable } from '@nestjs/common';
import { Redis } from '@app/platform/redis/redis.js';

const CHANNEL = 'admit';
/** Pokes closer together than this, in milliseconds, become one. */
const APART_MS = 20;

/** Tells whoever admits that tasks were held, or that what they wait for has come. A hint: it looks by itself too. */
@Injectable()
export class AdmissionPoke {
  private quietUntil = 0;

  constructor(private readonly redis: Redis) {}

  /** Does not wait, and is of no consequence when it fails. */
  poke(): void {
    const now = performance.now();
    if (now < this.quietUntil || !this.redis.ready) return;
    this.quietUntil = now + APART_MS;
    // A little later, so that what comes meanwhile is seen by the same look.
    setTimeout(() => void this.redis.publish(CHANNEL, {}), APART_MS / 2).unref();
  }

  listen(handle: () => void): Promise<void> {
    return this.redis.subscribe(CHANNEL, handle);
  }
}
