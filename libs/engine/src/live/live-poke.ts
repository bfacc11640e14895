import { Injectable } from '@nestjs/common';
import { Redis } from '@app/platform/redis/redis.js';

const CHANNEL = 'live';
/** Pokes closer together than this, in milliseconds, become one: 50 messages a second and process at most. */
const APART_MS = 20;

/** Tells whoever reads the live feed that something was committed. A hint: it looks by itself too. */
@Injectable()
export class LivePoke {
  private timer: NodeJS.Timeout | undefined;
  private quietUntil = 0;

  constructor(private readonly redis: Redis) {}

  /** After a commit. Does not wait, and is of no consequence when it fails. */
  poke(): void {
    if (this.timer || !this.redis.ready) return;
    const wait = this.quietUntil - performance.now();
    if (wait <= 0) this.tell();
    else this.timer = setTimeout(() => this.tell(), wait).unref();
  }

  listen(handle: () => void): Promise<void> {
    return this.redis.subscribe(CHANNEL, handle);
  }

  private tell(): void {
    this.timer = undefined;
    this.quietUntil = performance.now() + APART_MS;
    void this.redis.publish(CHANNEL, {});
  }
}
