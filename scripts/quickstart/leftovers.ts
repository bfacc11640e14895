import { rm } from 'node:fs/promises';
import { isFinal } from '../../apps/cli/src/api-answers.js';
import type { ApiClient } from '../../apps/cli/src/api-client.js';
import { ApiError } from '../../apps/cli/src/api-errors.js';
import type { Log } from '../local/types.js';
import { poll } from '../local/wait.js';

/**
 * Empties the place of the copy. A run that was cut may have left its job unfinished: the service has taken it up
 * again by now, and it would write where the next one is to write.
 */
export async function clearTarget(
  client: ApiClient,
  target: string,
  say: Log,
  signal: AbortSignal,
): Promise<void> {
  const { jobs } = await client.list({ limit: 200 }, signal);
  for (const { jobId, status, payload } of jobs) {
    if (isFinal(status) || (payload as { target?: unknown } | null)?.target !== target) continue;
    say('Canceling the job that an earlier run left unfinished.');
    await client.cancel(jobId, 'left unfinished by an earlier quickstart', signal).catch((error: unknown) => {
      // It has ended meanwhile.
      if (!(error instanceof ApiError)) throw error;
    });
    const quiet = async () => {
      const { cancelReceipt } = await client.get(jobId, signal);
      return !cancelReceipt || ['stopped', 'fenced'].includes(cancelReceipt.state);
    };
    await poll(quiet, { timeout: 10_000, every: 50 });
  }
  await rm(target, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
