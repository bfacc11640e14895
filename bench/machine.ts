import { availableParallelism, cpus, loadavg } from 'node:os';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import type { Bench } from './with-services.js';

/** What was measured on, in a few lines. */
export async function describeMachine({ databaseUrl, redisUrl }: Bench): Promise<string> {
  const redis = new Redis(redisUrl);
  const info = await redis.info('server').finally(() => redis.disconnect());
  const settings = ['server_version', 'fsync', 'synchronous_commit', 'shared_buffers'] as const;
  const [version, ...rest] = await withPostgres(databaseUrl, async (client) => {
    const { rows } = await client.query<{ value: string }>(
      'SELECT current_setting(name) AS value FROM unnest($1::text[]) AS name',
      [settings],
    );
    return rows.map((row) => row.value);
  });
  const tuned = rest.map((value, at) => `${settings[at + 1]} ${value}`).join(', ');
  return [
    `${availableParallelism()} cores (${cpus()[0]?.model.trim()}), load ${loadavg()[0]?.toFixed(1)} before it began, Node ${process.version}`,
    `Postgres ${version} (${tuned}), Redis ${/redis_version:(\S+)/.exec(info)?.[1]}`,
  ].join('\n');
}

/** Deadlocks that the database has seen. A backend tells of them when it is idle or ends. */
export function deadlocks({ databaseUrl }: Bench): Promise<number> {
  return withPostgres(databaseUrl, async (client) => {
    const { rows } = await client.query<{ deadlocks: string }>(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    );
    return Number(rows[0]?.deadlocks);
  });
}

async function withPostgres<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
