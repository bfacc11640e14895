import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withDatabase } from '../../scripts/db/database.js';
import { migrate } from '../../scripts/db/migrate.js';
import { startPostgres } from '../../scripts/local/postgres.js';

/** Where the fixtures of the tests look for the database to copy; whoever runs this often may give one. */
const GIVEN = 'LONGHAUL_TEST_DATABASE_URL';

/** Runs something with a migrated template database, on a Postgres of its own that is ended afterwards. */
export async function withTemplate<T>(use: (url: string) => Promise<T>): Promise<T> {
  const given = process.env[GIVEN];
  if (given) return use(given);
  const folder = await mkdtemp(join(tmpdir(), 'longhaul-model-'));
  const server = await startPostgres({ dir: join(folder, 'postgres'), durable: false });
  const end = async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void end().finally(() => process.exit(130)));
  try {
    const template = withDatabase(server.url, 'longhaul_template');
    await migrate(template);
    process.env[GIVEN] = template;
    return await use(template);
  } finally {
    await end();
  }
}
