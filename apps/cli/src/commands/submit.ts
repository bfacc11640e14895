import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { FAILURE_POLICIES, type FailurePolicy, type JobInput, type Json } from '@app/core';
import { CliError } from '../cli-error.js';
import { plain } from '../plain-text.js';
import { type Cli, readStdin } from '../surroundings.js';
import { follow } from './follow.js';
import { connect, type ConnectionFlags, count, withConnection } from './options.js';

interface Flags extends ConnectionFlags {
  payload?: string;
  tasks?: number;
  idempotencyKey?: string;
  attempts?: number;
  failurePolicy?: FailurePolicy;
  watch?: boolean;
}

/** `npm run cli -- submit <type>`: prints the id of the new job alone, or watches it. */
export function addSubmit(program: Command, cli: Cli): void {
  withConnection(program.command('submit <type>'))
    .description('Submits a job.')
    .option('--payload <json>', 'what the job type wants to know; @file reads a file, - standard input')
    .option('--tasks <n>', 'the number of tasks', count)
    .option('--idempotency-key <key>', 'makes a repeated submit give the first job again', idempotencyKey)
    .option('--attempts <n>', 'executions of a task in all', count)
    .addOption(new Option('--failure-policy <policy>', 'what a failed task means').choices(FAILURE_POLICIES))
    .option('--watch', 'shows the job until it has ended')
    .action((type: string, flags: Flags) => submit(cli, type, flags));
}

async function submit(cli: Cli, type: string, flags: Flags): Promise<void> {
  const { idempotencyKey } = flags;
  const client = await connect(cli, flags);
  const input = await inputOf(cli, type, flags);
  const job = await client.submit(input, idempotencyKey === undefined ? {} : { idempotencyKey });
  const id = plain(job.jobId);
  cli.note(`Job ${id} of ${plain(job.type)} is ${plain(job.status)}.`);
  if (flags.watch) return follow(cli, client, job.jobId);
  cli.say(id);
}

async function inputOf(cli: Cli, type: string, flags: Flags): Promise<JobInput> {
  const { payload, tasks, attempts, failurePolicy } = flags;
  return {
    type,
    ...(payload === undefined ? {} : { payload: await readPayload(cli, payload) }),
    ...(tasks === undefined ? {} : { numTask: tasks }),
    ...(attempts === undefined ? {} : { attempts }),
    ...(failurePolicy === undefined ? {} : { failurePolicy }),
  };
}

async function readPayload(cli: Cli, text: string): Promise<Json> {
  if (text === '-') return parse(await readStdin(cli), 'What came on standard input');
  if (!text.startsWith('@')) return parse(text, 'The payload');
  const file = text.slice(1);
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`The file ${file} cannot be read (${error.code ?? error.message}).`, 2);
  });
  return parse(content, `The file ${file}`);
}

function parse(text: string, what: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new CliError(`${what} is not JSON: ${plain((error as Error).message)}.`, 2);
  }
}

function idempotencyKey(text: string): string {
  if (/^[\x21-\x7e]{1,255}$/.test(text)) return text;
  throw new InvalidArgumentError('It has 1 to 255 printable characters without spaces.');
}
