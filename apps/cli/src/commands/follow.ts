import type { Job } from '../api-answers.js';
import type { ApiClient } from '../api-client.js';
import { plain } from '../plain-text.js';
import { age } from '../progress-line.js';
import type { Cli } from '../surroundings.js';
import { watchJob } from '../watch-job.js';

const EXIT_CODES: Record<string, number> = { completed: 0, failed: 1, canceled: 3 };

/** Shows a job until it has ended, or until the user has seen enough; sets the exit code. */
export async function follow(cli: Cli, client: ApiClient, jobId: string): Promise<void> {
  const interrupt = new AbortController();
  let interrupted = 0;
  const forget = cli.onInterrupt?.((exitCode) => {
    interrupted = exitCode;
    interrupt.abort();
  });
  try {
    const job = await watchJob(client, jobId, { out: cli.stdout, signal: interrupt.signal });
    cli.say(ending(job));
    cli.exitWith(EXIT_CODES[job.status] ?? 1);
  } catch (error) {
    if (interrupted === 0) throw error;
    cli.note(
      `Job ${jobId} goes on: \`npm run cli -- watch ${jobId}\` shows it again, \`npm run cli -- cancel ${jobId}\` ends it.`,
    );
    cli.exitWith(interrupted);
  } finally {
    forget?.();
  }
}

function ending(job: Job): string {
  const start = `Job ${plain(job.jobId)}`;
  if (job.status === 'completed') return `${start} completed in ${age(job)}.`;
  if (job.status === 'failed') return `${start} failed: ${cause(job.error)}`;
  const reason = job.cancelReceipt?.reason;
  return `${start} was canceled${reason ? `: ${plain(reason)}` : '.'}`;
}

function cause(error: Job['error']): string {
  if (!error) return 'no reason was given.';
  const { code, message, taskId, attempt } = error;
  const where = [taskId && `task ${taskId}`, attempt && `attempt ${attempt}`].filter(Boolean).join(', ');
  return plain(`${code}: ${message}${where && ` (${where})`}`);
}
