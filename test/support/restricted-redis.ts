import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { type TestRedis, testRedis } from './redis.js';

/** A user of the run's Redis whose channels can be forbidden and allowed; at first none is allowed. */
export class RestrictedRedis {
  private readonly user = `user_${randomUUID().slice(0, 8)}`;
  private readonly ours = testRedis();
  private readonly admin = new Redis(this.ours.url);

  static async open(): Promise<RestrictedRedis> {
    const opened = new RestrictedRedis();
    await opened.allow();
    return opened;
  }

  /** For a service that is this user. */
  get redis(): TestRedis {
    const url = new URL(this.ours.url);
    [url.username, url.password] = [this.user, 'secret'];
    return { ...this.ours, url: url.href };
  }

  /** Allows these channels, such as `&*`, and no others. */
  async allow(...channels: string[]): Promise<void> {
    const rules = ['on', '>secret', '~*', '+@all', 'resetchannels', ...channels];
    await this.admin.call('ACL', 'SETUSER', this.user, ...rules);
  }

  /** What Redis tells of the connections of this user, a line each. */
  async connections(): Promise<string[]> {
    const lines = String(await this.admin.call('CLIENT', 'LIST')).split('\n');
    return lines.filter((line) => line.includes(`user=${this.user}`));
  }

  /** How many listen to a channel of the service, such as `cancel`. */
  async listeners(channel: string): Promise<number> {
    const [, count] = (await this.admin.pubsub('NUMSUB', `${this.ours.prefix}:${channel}`)) as [
      string,
      number,
    ];
    return count;
  }

  /** Ends the connection of this user that listens. */
  async cutListener(): Promise<void> {
    const line = (await this.connections()).find((text) => text.includes('longhaul-subscriber'));
    const [, id] = /^id=(\d+) /.exec(line ?? '') ?? [];
    if (id === undefined) throw new Error('Nobody listens.');
    await this.admin.call('CLIENT', 'KILL', 'ID', id);
  }

  async close(): Promise<void> {
    await this.admin.call('ACL', 'DELUSER', this.user);
    await this.admin.quit();
  }
}
