import { safeText } from '../catalog/safe-text.js';
import { ConfigError } from '../config/config.js';
import { sqlState } from './sql-errors.js';

/** Why a process cannot start on its database, in one sentence that names the setting and repeats no credentials. */
export function bootFailure(error: unknown, databaseUrl: string): ConfigError {
  const { host, username, password, pathname } = new URL(databaseUrl);
  const database = `The database of DATABASE_URL${host && ` (${host})`}`;
  const { code, message = '' } = error as { code?: unknown; message?: string };
  const state = sqlState(error);
  if (state === '42P01') return new ConfigError(`${database} has no tables: run npm run db:migrate first.`);
  if (state === '3D000') return new ConfigError(`${database} does not exist: run npm run db:migrate first.`);
  if (state?.startsWith('28')) return new ConfigError(`${database} refuses the user or password.`);
  const named = state ?? (typeof code === 'string' ? code : undefined);
  const secrets = [databaseUrl, username, password, pathname.slice(1)].flatMap((text) => [
    text,
    decoded(text),
  ]);
  const reason =
    named ??
    safeText(
      message,
      [...new Set(secrets)].filter((text) => text.length > 0),
    );
  return new ConfigError(`${database} cannot be used (${reason || 'no reason was given'}).`);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
