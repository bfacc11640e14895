import { Redis, type RedisOptions } from 'ioredis';

/** What ioredis keeps, to send it again, of the commands that were not answered when a connection was lost. */
interface Unanswered {
  prevCommandQueue?: { shift(): { command: { reject(error: Error): void } } | undefined } | null;
}

/**
 * A connection to Redis, and its copies, that end at once when they are told to, with all that waits for an answer.
 * BullMQ closes its consumers by this; while Redis is away ioredis alone would keep them for ever.
 */
export class RedisConnection extends Redis {
  override disconnect(reconnect = false): void {
    // There is no socket, and ioredis would keep the process alive for it.
    if (this.status === 'end' || (reconnect && this.status === 'reconnecting')) return;
    if (!reconnect) {
      this.once('end', () => this.rejectUnanswered());
      // Between two tries to connect it would wait for the end of a socket that is no more.
      if (this.status === 'reconnecting') this.status = 'wait';
    }
    super.disconnect(reconnect);
  }

  override duplicate(override?: Partial<RedisOptions>): RedisConnection {
    return new RedisConnection({ ...this.options, ...override });
  }

  private rejectUnanswered(): void {
    const { prevCommandQueue: queue } = this as unknown as Unanswered;
    for (let next = queue?.shift(); next; next = queue?.shift())
      next.command.reject(new Error('Connection is closed.'));
  }
}
