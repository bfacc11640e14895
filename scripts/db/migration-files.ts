import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MigrationList } from '@prisma/schema-engine-wasm/schema_engine_bg';
import { repositoryRoot } from '../local/paths.js';

/** Where the migrations of this repository stand. */
export const migrationsFolder = join(repositoryRoot, 'prisma/migrations');

/** The schema as the engine wants it. */
export async function prismaSchema(): Promise<{ path: string; content: string }> {
  const path = join(repositoryRoot, 'prisma/schema.prisma');
  return { path, content: await readFile(path, 'utf8') };
}

/** Reads a migrations folder; the engine itself has no access to files. */
export async function migrationList(baseDir = migrationsFolder): Promise<MigrationList> {
  const entries = await readdir(baseDir, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const lockfile = await readFile(join(baseDir, 'migration_lock.toml'), 'utf8').catch(() => null);
  return {
    baseDir,
    lockfile: { path: 'migration_lock.toml', content: lockfile },
    shadowDbInitScript: '',
    migrationDirectories: await Promise.all(names.toSorted().map((name) => migration(baseDir, name))),
  };
}

async function migration(
  baseDir: string,
  name: string,
): Promise<MigrationList['migrationDirectories'][number]> {
  const path = 'migration.sql';
  const content = await readFile(join(baseDir, name, path), 'utf8').then(
    (value) => ({ tag: 'ok', value }) as const,
    (error: Error) => ({ tag: 'error', value: error.message }) as const,
  );
  return { path: name, migrationFile: { path, content } };
}
