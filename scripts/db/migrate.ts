import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { ensureDatabase, onDatabase, withDatabase } from './database.js';
import { withEngine } from './engine.js';
import { MigrationError, oneSentence } from './failure.js';
import { migrationList, migrationsFolder, prismaSchema } from './migration-files.js';

export { MigrationError } from './failure.js';

/** One number for all migration runners of Longhaul, in pg_advisory_lock's space. */
const runnerLock = 4_851_067_213;
const noFilter = { externalTables: [], externalEnums: [] };

/** How a migration may be run otherwise than by default. */
export interface MigrateOptions {
  /** Another folder of migrations. */
  folder?: string;
  /** How long to wait, in milliseconds, while another runner migrates. */
  patience?: number;
}

/**
 * Brings a database up to date and answers the names of the migrations that were applied. The database is made
 * when it is absent. Runners wait for each other; a second one finds nothing to do.
 */
export async function migrate(databaseUrl: string, options: MigrateOptions = {}): Promise<string[]> {
  const { folder = migrationsFolder, patience = 600_000 } = options;
  try {
    const migrationsList = await migrationList(folder);
    await ensureDatabase(databaseUrl);
    return await onDatabase(databaseUrl, async (client) => {
      await takeTurn(client, patience);
      const applied = await withEngine(databaseUrl, (engine) =>
        engine.applyMigrations({ migrationsList, filters: noFilter }),
      );
      return applied.appliedMigrationNames;
    });
  } catch (error) {
    throw oneSentence(error, databaseUrl);
  }
}

/** Lets a migration that failed be applied again, once its cause is repaired; needs no files. */
export async function markRolledBack(databaseUrl: string, migrationName: string): Promise<void> {
  try {
    await withEngine(databaseUrl, (engine) => engine.markMigrationRolledBack({ migrationName }));
  } catch (error) {
    throw oneSentence(error, databaseUrl);
  }
}

/** The SQL that leads from the migrations to schema.prisma; empty when they agree. Uses a shadow database. */
export async function diff(databaseUrl: string, folder = migrationsFolder): Promise<string> {
  try {
    const [migrations, schema] = await Promise.all([migrationList(folder), prismaSchema()]);
    // The URL's own database plays no part, and may not exist yet.
    const { stdout } = await withEngine(withDatabase(databaseUrl, 'postgres'), (engine) =>
      engine.diff({
        from: { tag: 'migrations', ...migrations },
        to: { tag: 'schemaDatamodel', files: [schema] },
        script: true,
        exitCode: null,
        filters: noFilter,
      }),
    );
    const sql = stdout?.trim() ?? '';
    return sql === '-- This is an empty migration.' ? '' : sql;
  } catch (error) {
    throw oneSentence(error, databaseUrl);
  }
}

/**
 * The lock is asked for again and again rather than waited for in the server: a waiting statement holds a snapshot,
 * and CREATE INDEX CONCURRENTLY of the runner at work would wait for it, a deadlock.
 */
async function takeTurn(client: Client, patience: number): Promise<void> {
  const end = Date.now() + patience;
  for (;;) {
    const { rows } = await client.query<{ mine: boolean }>('SELECT pg_try_advisory_lock($1) AS mine', [
      runnerLock,
    ]);
    if (rows[0]?.mine) return;
    if (Date.now() > end) throw new MigrationError('Another migration runner has not finished in time.');
    await delay(200);
  }
}
