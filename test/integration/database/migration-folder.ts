import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrationsFolder } from '../../../scripts/db/migration-files.js';

/** A folder of migrations that a test has made up. */
export interface MigrationFolder {
  path: string;
  /** Writes a migration, or writes it anew. */
  write(name: string, sql: string): Promise<void>;
  remove(): Promise<void>;
}

/** An empty folder of migrations. */
export async function migrationFolder(): Promise<MigrationFolder> {
  const path = await mkdtemp(join(tmpdir(), 'longhaul-migrations-'));
  const lock = 'migration_lock.toml';
  await copyFile(join(migrationsFolder, lock), join(path, lock));
  return {
    path,
    write: async (name, sql) => {
      await mkdir(join(path, name), { recursive: true });
      await writeFile(join(path, name, 'migration.sql'), sql);
    },
    remove: () => rm(path, { recursive: true, force: true }),
  };
}
