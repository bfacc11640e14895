import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../local/postgres.js';
import type { LocalServer } from '../local/types.js';
import { MigrationError } from './failure.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs something on an empty Postgres, which is gone afterwards, also when the program is told to end meanwhile. */
export async function onScratchServer<T>(use: (databaseUrl: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-diff-'));
  let server: LocalServer | undefined;
  let interrupted = false;
  // The server has a process group of its own: it would outlive us.
  const interrupt = () => {
    interrupted = true;
    void server?.stop();
  };
  for (const signal of signals) process.on(signal, interrupt);
  try {
    server = await startPostgres({ dir: folder, durable: false });
    // The signal may have come while the server started.
    if (interrupted) throw new MigrationError('Interrupted.');
    return await use(server.url).catch((error: unknown) => {
      throw interrupted ? new MigrationError('Interrupted.') : error;
    });
  } finally {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
    for (const signal of signals) process.off(signal, interrupt);
  }
}
