import { type Command, InvalidArgumentError } from 'commander';
import { type Scope, SCOPES } from '@app/platform/auth/api-key.js';
import { readDatabaseUrl } from '../settings.js';
import type { Cli } from '../surroundings.js';

interface Flags {
  owner: string;
  scopes: Scope[];
  name: string;
}

/** `npm run cli -- keys create`: prints the key alone. */
export function addKeys(program: Command, cli: Cli): void {
  const keys = program.command('keys').description('Manages API keys.');
  keys
    .command('create')
    .description('Makes an API key, in the database of DATABASE_URL.')
    .requiredOption('--owner <owner>', 'whose jobs the key sees', name)
    .requiredOption('--scopes <list>', `what it allows, by comma: ${SCOPES.join(', ')}`, scopes)
    .option('--name <text>', 'what the key is for', name, 'made by the command line')
    .action((flags: Flags) => create(cli, flags));
}

async function create(cli: Cli, { owner, scopes, name }: Flags): Promise<void> {
  const databaseUrl = await readDatabaseUrl(cli);
  // Loaded when needed: the other commands should not wait for the database client.
  const { createKey } = await import('./create-key.js');
  const { id, text } = await createKey(databaseUrl, { ownerId: owner, scopes, name });
  cli.note(
    `Key ${id} of ${owner} allows ${scopes.join(', ')}. It is shown this once: give it as LONGHAUL_API_KEY or --key.`,
  );
  cli.say(text);
}

function scopes(text: string): Scope[] {
  const asked = text.split(',').map((scope) => scope.trim());
  const unknown = asked.filter((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown.length > 0) throw new InvalidArgumentError(`The scopes are ${SCOPES.join(', ')}.`);
  return [...new Set(asked as Scope[])];
}

function name(text: string): string {
  if (/^[^\p{C}]{1,200}$/u.test(text) && text.trim() === text) return text;
  throw new InvalidArgumentError('It has 1 to 200 characters, and no space at its ends.');
}
