import { type Command, InvalidArgumentError } from 'commander';
import { isKeyName, KEY_NAME_RULE, type Scope, SCOPES } from '@app/platform/auth/api-key.js';
import { isNetwork, NETWORK_RULE } from '@app/platform/auth/networks.js';
import type { ApiKeySummary } from '@app/platform/prisma/api-key-store.js';
import { CliError } from '../cli-error.js';
import { plain } from '../plain-text.js';
import { readDatabaseUrl } from '../settings.js';
import type { Cli } from '../surroundings.js';
import { count } from './options.js';

interface Flags {
  owner: string;
  scopes: Scope[];
  name: string;
  allowedCidrs?: string[];
  expiresAt?: Date;
}

const DEFAULT_PAGE = 50;

/** `npm run cli -- keys …`: makes, lists and revokes API keys, in the database of DATABASE_URL. */
export function addKeys(program: Command, cli: Cli): void {
  const keys = program.command('keys').description('Manages API keys, in the database of DATABASE_URL.');
  keys
    .command('create')
    .description('Makes an API key and prints it alone.')
    .requiredOption('--owner <owner>', 'whose jobs the key sees', name)
    .requiredOption('--scopes <list>', `what it allows, by comma: ${SCOPES.join(', ')}`, scopes)
    .option('--name <text>', 'what the key is for', name, 'made by the command line')
    .option('--allowed-cidrs <list>', 'from where it may be used, by comma, such as 10.0.0.0/8', networks)
    .option('--expires-at <time>', 'when it ends, such as 2030-01-31T12:00:00Z; never unless given', instant)
    .action((flags: Flags) => create(cli, flags));
  keys
    .command('list')
    .description('Lists the API keys, newest first, without their secrets.')
    .option('--owner <owner>', 'only those of this owner', name)
    .option('--limit <n>', `the most keys to show (${DEFAULT_PAGE})`, count, DEFAULT_PAGE)
    .action((flags: { owner?: string; limit: number }) => list(cli, flags));
  keys
    .command('revoke')
    .argument('<keyId>', 'the part of the key between lh_ and the next _')
    .description('Revokes an API key for good; every process refuses it 3 s later at most.')
    .action((id: string) => revoke(cli, id));
}

async function create(cli: Cli, { owner, scopes, name, allowedCidrs, expiresAt }: Flags): Promise<void> {
  const databaseUrl = await readDatabaseUrl(cli);
  // Loaded when needed: the other commands should not wait for the database client.
  const { createKey } = await import('./stored-keys.js');
  const until = expiresAt === undefined ? {} : { expiresAt };
  const from = allowedCidrs === undefined ? {} : { allowedCidrs };
  const { id, text } = await createKey(databaseUrl, { ownerId: owner, scopes, name, ...from, ...until });
  cli.note(
    `Key ${id} of ${owner} allows ${scopes.join(', ')}. It is shown this once: give it as LONGHAUL_API_KEY or --key.`,
  );
  cli.say(text);
}

async function list(cli: Cli, { owner, limit }: { owner?: string; limit: number }): Promise<void> {
  const databaseUrl = await readDatabaseUrl(cli);
  const { listKeys } = await import('./stored-keys.js');
  const keys = await listKeys(databaseUrl, { limit, ...(owner === undefined ? {} : { ownerId: owner }) });
  if (keys.length === 0) return cli.note('There are no such keys.');
  for (const key of keys) cli.say(lineOf(key));
}

async function revoke(cli: Cli, id: string): Promise<void> {
  // Not refused by commander, which would repeat it: it may be a whole key.
  if (!/^[0-9A-Za-z]{8}$/.test(id)) {
    throw new CliError('This is no id of a key; `npm run cli -- keys list` shows them.', 2);
  }
  const databaseUrl = await readDatabaseUrl(cli);
  const { revokeKey } = await import('./stored-keys.js');
  const { ownerId, revokedAt } = await revokeKey(databaseUrl, id);
  cli.say(`Key ${id} of ${plain(ownerId)} is revoked since ${revokedAt?.toISOString()}.`);
}

function lineOf({ id, ownerId, name, scopes, allowedCidrs, ...key }: ApiKeySummary): string {
  const { createdAt, expiresAt, revokedAt } = key;
  const end = revokedAt
    ? `revoked ${revokedAt.toISOString()}`
    : `expires ${expiresAt?.toISOString() ?? 'never'}`;
  const from = allowedCidrs.length > 0 ? [`from ${plain(allowedCidrs.join(','))}`] : [];
  const words = [
    id,
    plain(ownerId),
    plain(scopes.join(',')),
    createdAt.toISOString(),
    end,
    ...from,
    plain(name),
  ];
  return words.join('  ');
}

function scopes(text: string): Scope[] {
  const asked = text.split(',').map((scope) => scope.trim());
  const unknown = asked.filter((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown.length > 0) throw new InvalidArgumentError(`The scopes are ${SCOPES.join(', ')}.`);
  return [...new Set(asked as Scope[])];
}

function networks(text: string): string[] {
  const asked = text.split(',').map((network) => network.trim());
  if (asked.every(isNetwork)) return asked;
  throw new InvalidArgumentError(NETWORK_RULE);
}

function name(text: string): string {
  if (isKeyName(text)) return text;
  throw new InvalidArgumentError(KEY_NAME_RULE);
}

function instant(text: string): Date {
  const time = new Date(text);
  const isFull = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text);
  if (isFull && time.getTime() > Date.now()) return time;
  throw new InvalidArgumentError('It must be a time to come, with its offset: 2030-01-31T12:00:00Z.');
}
