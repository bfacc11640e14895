import type { Command } from 'commander';
import { MigrationError } from '../../../../scripts/db/failure.js';
import { CliError } from '../cli-error.js';
import { readDatabaseUrl } from '../settings.js';
import type { Cli } from '../surroundings.js';

/** `npm run cli -- migrate`: prints the names of the migrations that it applied. */
export function addMigrate(program: Command, cli: Cli): void {
  program
    .command('migrate')
    .description('Brings the database of DATABASE_URL up to date.')
    .action(() => migrateDatabase(cli));
}

async function migrateDatabase(cli: Cli): Promise<void> {
  const databaseUrl = await readDatabaseUrl(cli);
  // Loaded when needed: the other commands should not wait for the migration engine.
  const { migrate } = await import('../../../../scripts/db/migrate.js');
  const applied = await migrate(databaseUrl).catch((error: unknown) => {
    throw error instanceof MigrationError ? new CliError(error.message, 1, { cause: error }) : error;
  });
  for (const name of applied) cli.say(name);
  cli.note('The database is up to date.');
}
