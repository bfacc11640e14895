import type { Command } from 'commander';
import type { Cli } from '../surroundings.js';
import { follow } from './follow.js';
import { connect, type ConnectionFlags, jobId, withConnection } from './options.js';

/** `npm run cli -- watch <jobId>`: exits with 0 when the job completed, 1 when it failed, 3 when it was canceled. */
export function addWatch(program: Command, cli: Cli): void {
  withConnection(program.command('watch').argument('<jobId>', 'the job', jobId))
    .description('Shows a job until it has ended; Ctrl-C leaves it running.')
    .addHelpText('after', '\nExits with 0 when the job completed, 1 when it failed, 3 when it was canceled.')
    .action(async (id: string, flags: ConnectionFlags) => follow(cli, await connect(cli, flags), id));
}
