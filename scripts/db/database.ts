import { Client, DatabaseError } from 'pg';

const noSuchDatabase = '3D000';
// The second is what the loser of a race for the same name gets.
const nameTaken = ['42P04', '23505'];

/** The same server and user, another database. */
export function withDatabase(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return url.href;
}

/** Runs something on a connection of its own and closes it. */
export async function onDatabase<T>(databaseUrl: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 15_000,
    keepAlive: true,
  });
  // A connection that breaks while idle reports it here; the next query fails and tells.
  client.on('error', () => {});
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/** As onDatabase, on the server's `postgres` database: for making and dropping others. */
export function onServer<T>(databaseUrl: string, use: (client: Client) => Promise<T>): Promise<T> {
  return onDatabase(withDatabase(databaseUrl, 'postgres'), use);
}

/** Makes the database of the URL when the server has none of that name. */
export async function ensureDatabase(databaseUrl: string): Promise<void> {
  try {
    await onDatabase(databaseUrl, async () => {});
  } catch (error) {
    if (!hasCode(error, [noSuchDatabase])) throw error;
    await createDatabase(databaseUrl);
  }
}

async function createDatabase(databaseUrl: string): Promise<void> {
  const name = decodeURIComponent(new URL(databaseUrl).pathname.slice(1));
  try {
    await onServer(databaseUrl, (client) => client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`));
  } catch (error) {
    if (!hasCode(error, nameTaken)) throw error;
  }
}

function hasCode(error: unknown, codes: string[]): boolean {
  return error instanceof DatabaseError && codes.includes(error.code ?? '');
}
