import { type Command, InvalidArgumentError } from 'commander';
import { ApiClient } from '../api-client.js';
import { readConnection } from '../settings.js';
import type { Cli } from '../surroundings.js';

/** The options of every command that asks the service. */
export interface ConnectionFlags {
  url?: string;
  key?: string;
}

/** Gives a command the options that connect takes. */
export function withConnection(command: Command): Command {
  return command
    .option('--url <url>', 'the service (LONGHAUL_URL, else that of the quickstart)')
    .option('--key <key>', 'an API key (LONGHAUL_API_KEY, else that of the quickstart)');
}

/** A client for the service that is meant. */
export async function connect(cli: Cli, flags: ConnectionFlags): Promise<ApiClient> {
  return new ApiClient(await readConnection(cli, flags));
}

/** A whole number from 1 on. */
export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1 on.');
}

/** The id of a job. What could not be one would lead to another route of the service. */
export function jobId(text: string): string {
  if (/^[0-9A-Za-z-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be the id of a job, as `npm run cli -- list` shows it.');
}
