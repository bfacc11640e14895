import type { Scope } from '@app/platform/auth/api-key.js';
import { safeText } from '@app/platform/catalog/safe-text.js';
import { issueApiKey } from '@app/platform/prisma/api-key-store.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { isOutage, sqlState } from '@app/platform/prisma/sql-errors.js';
import { CliError } from '../cli-error.js';

/** Makes a key in a database. Failures are told without the password. */
export async function createKey(
  databaseUrl: string,
  input: { ownerId: string; name: string; scopes: Scope[] },
): Promise<{ id: string; text: string }> {
  try {
    return await withClient(databaseUrl, (client) => issueApiKey(client, input));
  } catch (error) {
    throw new CliError(sentence(error, databaseUrl), 1, { cause: error });
  }
}

function sentence(error: unknown, databaseUrl: string): string {
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
  return `The key could not be stored: ${safeText(lines.at(-1) ?? '', secrets)}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
