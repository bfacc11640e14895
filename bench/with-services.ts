import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '../scripts/local/stack.js';
import { serviceEnvironment, startService, type TestService } from '../test/support/service.js';

/** Servers and built processes of the service that a measurement runs on; all of them end with it. */
export interface Bench {
  databaseUrl: string;
  redisUrl: string;
  start(role: string, more?: Record<string, string>): Promise<TestService>;
}

/**
 * Runs a measurement on servers of its own with Postgres as it is in production (fsync and synchronous commit on),
 * and processes of the code that `npm run build` has made.
 */
export async function withServices<T>(measure: (bench: Bench) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'longhaul-bench-'));
  const stack = await startStack({ dir, durable: true });
  const services: TestService[] = [];
  const stop = async () => {
    await Promise.all(services.map((service) => service.stop()));
    await stack.stop();
    await rm(dir, { recursive: true, force: true });
  };
  // The servers are in groups of their own, which Ctrl-C does not reach.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  try {
    return await measure({
      ...stack,
      start: async (role, more = {}) => {
        const redis = { url: stack.redisUrl, prefix: 'bench' };
        const defaults = { SERVICE_TYPE: role, LEASE: '10s', SWEEP_INTERVAL: '250ms', LOG_LEVEL: 'info' };
        const service = await startService(
          serviceEnvironment(stack.databaseUrl, redis, { ...defaults, ...more }),
          'built',
        );
        services.push(service);
        return service;
      },
    });
  } finally {
    await stop();
  }
}

/** The value that a share of the measured ones does not exceed (nearest rank). */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
