import { relative } from 'node:path';
import { repositoryRoot } from '../local/paths.js';
import { LocalStackError } from '../local/types.js';
import { MigrationError } from './failure.js';
import { diff, markRolledBack, migrate } from './migrate.js';
import { migrationsFolder } from './migration-files.js';
import { writeMigration } from './new-migration.js';
import { onScratchServer } from './scratch-server.js';

/** What a command works with. */
export interface Surroundings {
  databaseUrl?: string;
  /** Another folder of migrations. */
  folder?: string;
  say: (sentence: string) => void;
  complain: (sentence: string) => void;
}

const usage =
  'Say `npm run db:migrate`, `npm run db:diff -- <name>` or `npm run db:rolled-back -- <migration>`.';

/** The words of the command line make no sense. */
class UsageError extends Error {}

/** Runs one command and answers the exit code: 1 when it failed, 2 when its words make no sense. */
export async function runCommand(words: string[], around: Surroundings): Promise<number> {
  const [command, ...rest] = words;
  try {
    if (command === 'migrate' && rest.length === 0) await migrateCommand(around);
    else if (command === 'diff') await diffCommand(rest, around);
    else if (command === 'rolled-back') await rolledBackCommand(rest, around);
    else throw new UsageError(usage);
    return 0;
  } catch (error) {
    around.complain(sentenceOf(error));
    return error instanceof UsageError ? 2 : 1;
  }
}

async function migrateCommand({ databaseUrl, folder, say }: Surroundings): Promise<void> {
  const applied = await migrate(checked(databaseUrl), { folder });
  for (const name of applied) say(`Applied ${name}.`);
  if (applied.length === 0) say('The database is up to date.');
}

async function diffCommand(words: string[], { databaseUrl, folder, say }: Surroundings): Promise<void> {
  const [name = ''] = words;
  if (words.length !== 1 || !/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) {
    throw new UsageError('Name the migration in lower-case words with _: `npm run db:diff -- add_labels`.');
  }
  const compare = (url: string) => diff(url, folder);
  const sql = databaseUrl ? await compare(checked(databaseUrl)) : await onScratchServer(compare);
  if (!sql) {
    say('The migrations and the schema agree; nothing was written.');
    return;
  }
  const file = await writeMigration(folder ?? migrationsFolder, name, sql);
  say(`Wrote ${relative(repositoryRoot, file)}: read it before you commit it.`);
}

async function rolledBackCommand(words: string[], { databaseUrl, say }: Surroundings): Promise<void> {
  const [name] = words;
  if (!name || words.length !== 1) {
    throw new UsageError('Name the migration that failed: `npm run db:rolled-back -- <migration>`.');
  }
  await markRolledBack(checked(databaseUrl), name);
  say(`Migration ${name} counts as rolled back: it is applied again by the next run.`);
}

/** The URL, or a sentence that names the variable and never repeats its value. */
function checked(databaseUrl: string | undefined): string {
  if (!databaseUrl) throw new MigrationError('DATABASE_URL is not set.');
  const url = URL.canParse(databaseUrl) ? new URL(databaseUrl) : undefined;
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new MigrationError('DATABASE_URL must be a URL that begins with postgres:// or postgresql://.');
  }
  if (url.pathname.length < 2) throw new MigrationError('DATABASE_URL must name a database after the host.');
  return databaseUrl;
}

function sentenceOf(error: unknown): string {
  const known = [UsageError, MigrationError, LocalStackError].some((type) => error instanceof type);
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  return known ? line : `It did not work: ${line.replace(/\.$/, '')}.`;
}
