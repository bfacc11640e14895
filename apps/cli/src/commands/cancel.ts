import type { Command } from 'commander';
import type { Job } from '../api-answers.js';
import { plain } from '../plain-text.js';
import type { Cli } from '../surroundings.js';
import { connect, type ConnectionFlags, jobId, withConnection } from './options.js';

const STOPS: Record<string, string> = {
  requested: 'its running attempts are about to be told',
  delivered: 'its running attempts know and are stopping',
  stopped: 'nothing of it runs any more',
  fenced: 'an attempt that did not stop is shut out, and nothing that it does counts',
};

/** `npm run cli -- cancel <jobId>` */
export function addCancel(program: Command, cli: Cli): void {
  withConnection(program.command('cancel').argument('<jobId>', 'the job', jobId))
    .description('Cancels a job.')
    .option('--reason <text>', 'why; kept with the job')
    .action(async (id: string, flags: ConnectionFlags & { reason?: string }) => {
      const client = await connect(cli, flags);
      cli.say(receipt(await client.cancel(id, flags.reason)));
    });
}

function receipt({ jobId, status, cancelReceipt }: Job): string {
  const stop = STOPS[cancelReceipt?.state ?? ''];
  return `Job ${plain(jobId)} is ${plain(status)}${stop ? `: ${stop}` : ''}.`;
}
