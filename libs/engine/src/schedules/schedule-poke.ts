import { Injectable } from '@nestjs/common';
import { Redis } from '@app/platform/redis/redis.js';

const CHANNEL = 'schedules';

/**
 * Lets tickers know that something is due earlier than they think: a schedule was made or changed, or a job has ended
 * for which a slot waits. A hint: they look by themselves within a second.
 */
@Injectable()
export class SchedulePoke {
  private listener: { changed: () => void; ended: () => void } | undefined;

  constructor(private readonly redis: Redis) {}

  /** Tells the tickers of all processes. Does not wait, and is of no consequence when it fails. */
  poke(): void {
    if (this.redis.ready) void this.redis.publish(CHANNEL, {});
    this.listener?.changed();
  }

  /** Tells the ticker of this process that a job has ended, of whatever schedule or of none. */
  jobEnded(): void {
    this.listener?.ended();
  }

  async listen(listener: { changed: () => void; ended: () => void }): Promise<void> {
    this.listener = listener;
    await this.redis.subscribe(CHANNEL, listener.changed);
  }
}
