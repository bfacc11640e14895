import type { Command } from 'commander';
import { jobTable } from '../job-table.js';
import { plain, plainJson } from '../plain-text.js';
import type { Cli } from '../surroundings.js';
import { connect, type ConnectionFlags, count, withConnection } from './options.js';

interface Flags extends ConnectionFlags {
  limit?: number;
  cursor?: string;
  json?: boolean;
}

/** `npm run cli -- list`: a page of the own jobs, newest first. */
export function addList(program: Command, cli: Cli): void {
  withConnection(program.command('list'))
    .description('Lists your jobs, newest first.')
    .option('--limit <n>', 'the most jobs to show (50, at most 200)', count)
    .option('--cursor <cursor>', 'where an earlier list ended')
    .option('--json', 'prints the answer of the service')
    .action((flags: Flags) => list(cli, flags));
}

async function list(cli: Cli, flags: Flags): Promise<void> {
  const { limit, cursor } = flags;
  const client = await connect(cli, flags);
  const page = await client.list({
    ...(limit === undefined ? {} : { limit }),
    ...(cursor === undefined ? {} : { cursor }),
  });
  if (flags.json) return cli.say(plainJson(page));
  if (page.jobs.length === 0)
    return cli.note(cursor === undefined ? 'You have no jobs yet.' : 'No more jobs.');
  cli.say(jobTable(page.jobs));
  if (page.nextCursor !== null) cli.note(`There are more: add --cursor ${plain(page.nextCursor)}`);
}
