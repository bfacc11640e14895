import { join } from 'node:path';
import { Redis } from 'ioredis';
import { withDatabase } from '../../../scripts/db/database.js';
import { migrate } from '../../../scripts/db/migrate.js';
import { startPostgres } from '../../../scripts/local/postgres.js';
import { startRedis } from '../../../scripts/local/redis.js';
import type { LocalServer } from '../../../scripts/local/types.js';
import type { Proxy } from './proxy.js';

/** The real Postgres and Redis of a run. They come back on other ports than before; the proxies are told. */
export class Servers {
  private readonly proxies: { postgres: Proxy[]; redis: Proxy[] } = { postgres: [], redis: [] };

  private constructor(
    private readonly folder: string,
    private postgres: LocalServer,
    private redis: LocalServer,
  ) {}

  /** Postgres as in production, for what it has confirmed must survive; Redis keeps nothing. */
  static async start(folder: string): Promise<Servers> {
    const [postgres, redis] = await Promise.all([
      startPostgres({ dir: join(folder, 'postgres') }),
      startRedis({ dir: join(folder, 'redis'), durable: false }),
    ]);
    return new Servers(folder, postgres, redis);
  }

  get ports(): { postgres: number; redis: number } {
    return { postgres: this.postgres.port, redis: this.redis.port };
  }

  /** A new, migrated database; its address leads straight to the server. */
  async createDatabase(name: string): Promise<void> {
    await migrate(this.databaseUrl(name));
  }

  /** The address of a database, through a port, or straight. */
  databaseUrl(name: string, port = this.postgres.port): string {
    const url = new URL(withDatabase(this.postgres.url, name));
    url.port = String(port);
    return url.href;
  }

  /** Lets a proxy follow the servers from port to port. */
  follow(kind: 'postgres' | 'redis', proxy: Proxy): void {
    this.proxies[kind].push(proxy);
  }

  unfollow(): void {
    this.proxies.postgres = [];
    this.proxies.redis = [];
  }

  /** Empties Redis, as an operator's FLUSHALL does. */
  async flushRedis(): Promise<void> {
    const client = new Redis(this.redis.url);
    await client.flushall();
    client.disconnect();
  }

  /** Kills Redis and starts an empty one. */
  async replaceRedis(downMs: number): Promise<void> {
    process.kill(this.redis.pid, 'SIGKILL');
    await this.redis.stop();
    await new Promise((resolve) => setTimeout(resolve, downMs));
    this.redis = await startRedis({ dir: join(this.folder, 'redis'), durable: false });
    for (const proxy of this.proxies.redis) proxy.target = this.redis.port;
  }

  /** Stops Postgres fast, which ends all sessions, and starts it again. */
  async restartPostgres(downMs: number): Promise<void> {
    await this.postgres.stop();
    await new Promise((resolve) => setTimeout(resolve, downMs));
    this.postgres = await startPostgres({ dir: join(this.folder, 'postgres') });
    for (const proxy of this.proxies.postgres) proxy.target = this.postgres.port;
  }

  async stop(): Promise<void> {
    await Promise.all([this.redis.stop(), this.postgres.stop()]);
  }
}
