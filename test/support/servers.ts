import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withDatabase } from '../../scripts/db/database.js';
import { migrate } from '../../scripts/db/migrate.js';
import { startPostgres } from '../../scripts/local/postgres.js';
import { startRedis } from '../../scripts/local/redis.js';
import { compileService } from './compile-service.js';

// The servers of one test run, in a process of their own, and the service as it is compiled for the run. They live as
// long as its standard input is open: when Jest ends, however it ends, the system closes it, and nothing stays behind.
const ended = new Promise<void>((resolve) => {
  process.stdin.once('close', resolve).once('end', resolve).resume();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => process.stdin.destroy());

const folder = await mkdtemp(join(tmpdir(), 'longhaul-test-'));
const stops: (() => Promise<void>)[] = [];
try {
  const start = async (server: typeof startPostgres, name: string) => {
    const started = await server({ dir: join(folder, name), durable: false });
    stops.push(started.stop);
    return started.url;
  };
  const compiled = join(folder, 'compiled/out');
  const results = await Promise.allSettled([
    start(startPostgres, 'postgres'),
    start(startRedis, 'redis'),
    compileService(compiled, ['test/support/routes-main.ts']),
  ]);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  const [postgres, redis] = results.map((result) => (result.status === 'fulfilled' ? result.value : ''));
  const template = withDatabase(postgres ?? '', 'longhaul_template');
  await migrate(template);
  process.stdout.write(`${JSON.stringify({ database: template, redis, compiled })}\n`);
  await ended;
} catch (error) {
  process.stdout.write(
    `${JSON.stringify({ failure: error instanceof Error ? error.message : String(error) })}\n`,
  );
  process.exitCode = 1;
} finally {
  await Promise.all(stops.map((stop) => stop()));
  await rm(folder, { recursive: true, force: true });
  process.stdin.destroy();
}
