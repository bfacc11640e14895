import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { CliError } from './cli-error.js';
import type { Cli } from './surroundings.js';

const DEFAULT_URL = 'http://127.0.0.1:3000';
const DevSettings = z.object({
  url: z.string().optional(),
  apiKey: z.string().optional(),
  databaseUrl: z.string().optional(),
});
type DevSettings = z.output<typeof DevSettings>;

/** Where the service is and who asks. */
export interface Connection {
  url: string;
  apiKey?: string;
}

/** The service and the key of the options, else of the environment, else of the quickstart. */
export async function readConnection(cli: Cli, flags: { url?: string; key?: string }): Promise<Connection> {
  const chosen = flags.url || cli.env['LONGHAUL_URL'];
  const key = flags.key || cli.env['LONGHAUL_API_KEY'];
  const dev = chosen && key ? {} : await readDevSettings(cli.devFile);
  const url = baseUrl(chosen || dev.url || DEFAULT_URL);
  // The key of a local database is of no use elsewhere, and is nobody else's to see.
  const apiKey = key || (!chosen || isLoopback(url) ? dev.apiKey : undefined);
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new CliError('The API key has characters that no key has; it looks like lh_….', 2);
  }
  return { url, ...(apiKey === undefined ? {} : { apiKey }) };
}

/** The database of DATABASE_URL, else of the quickstart. Its value never gets into a message. */
export async function readDatabaseUrl(cli: Cli): Promise<string> {
  const text = cli.env['DATABASE_URL'] || (await readDevSettings(cli.devFile)).databaseUrl;
  if (!text) {
    throw new CliError('DATABASE_URL is not set, and no quickstart has left one in .longhaul/dev.json.', 2);
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.length < 2) {
    throw new CliError('DATABASE_URL must look like postgresql://user:password@host:5432/database.', 2);
  }
  return text;
}

async function readDevSettings(file: string): Promise<DevSettings> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return {};
    throw new CliError(`The file ${file} cannot be read (${code}).`, 1, { cause: error });
  }
  const parsed = DevSettings.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new CliError(`The file ${file} is damaged: delete it, and the quickstart writes it anew.`, 1);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function baseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new CliError(`The URL of the service must look like ${DEFAULT_URL}.`, 2);
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new CliError('The URL of the service has neither a password, nor a query, nor a #.', 2);
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function isLoopback(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);
}
