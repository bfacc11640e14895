import { safeText } from '@app/platform/catalog/safe-text.js';
import {
  type ApiKeyPage,
  type ApiKeySummary,
  issueApiKey,
  listApiKeys,
  type NewApiKey,
  revokeApiKey,
} from '@app/platform/prisma/api-key-store.js';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { isOutage, sqlState } from '@app/platform/prisma/sql-errors.js';
import { CliError } from '../cli-error.js';

/** Makes a key in a database. Here and below failures are told without the password. */
export function createKey(databaseUrl: string, input: NewApiKey): Promise<{ id: string; text: string }> {
  return told(databaseUrl, 'stored', (client) => issueApiKey(client, input));
}

/** The newest keys of a database, without their secrets. */
export function listKeys(databaseUrl: string, page: ApiKeyPage): Promise<ApiKeySummary[]> {
  return told(databaseUrl, 'listed', (client) => listApiKeys(client, page));
}

/** Revokes a key of a database. */
export async function revokeKey(databaseUrl: string, id: string): Promise<ApiKeySummary> {
  const revoked = await told(databaseUrl, 'revoked', (client) => revokeApiKey(client, id));
  if (!revoked) throw new CliError(`There is no key ${id}.`, 1);
  return revoked;
}

async function told<T>(
  databaseUrl: string,
  done: string,
  use: (client: PrismaClient) => Promise<T>,
): Promise<T> {
  try {
    return await withClient(databaseUrl, use);
  } catch (error) {
    throw new CliError(sentence(error, databaseUrl, done), 1, { cause: error });
  }
}

function sentence(error: unknown, databaseUrl: string, done: string): string {
  const { host, pathname, password } = new URL(databaseUrl);
  const code = (error as { code?: unknown }).code;
  if (sqlState(error) === '42P01' || code === 'P2021') {
    return 'The database has no tables yet: `npm run cli -- migrate` makes them.';
  }
  if (code === 'P1003' || sqlState(error) === '3D000') {
    return `There is no database ${pathname.slice(1)} at ${host}: \`npm run cli -- migrate\` makes it.`;
  }
  if (code === 'P1000' || code === 'P1010') return `The database at ${host} refuses the user or password.`;
  if (isOutage(error)) return `The database at ${host} cannot be reached.`;
  const lines = (error instanceof Error ? error.message : String(error)).trim().split('\n');
  const secrets = [databaseUrl, password, decoded(password)].filter(Boolean);
  return `The keys could not be ${done}: ${safeText(lines.at(-1) ?? '', secrets)}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
