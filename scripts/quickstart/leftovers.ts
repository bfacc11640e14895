import { rm } from 'node:fs/promises';
import { isFinal, type Job } from '../../apps/cli/src/api-answers.js';
import type { ApiClient } from '../../apps/cli/src/api-client.js';
import { ApiError } from '../../apps/cli/src/api-errors.js';
import type { Log } from '../local/types.js';
import { poll } from '../local/wait.js';

type Jobs = Pick<ApiClient, 'list' | 'get' | 'cancel'>;

const PAGE = 200;
const STOP_MS = 10_000;

/**
 * Cancels the jobs that earlier quickstarts left unfinished, and waits until nothing of them runs. They were sent first,
 * so the tour would wait behind them; and one of them may be writing where the tour is to write. Jobs for a later time
 * are in nobody's way.
 */
export async function endLeftovers(client: Jobs, say: Log, signal: AbortSignal): Promise<void> {
  const open = await openJobs(client, signal);
  if (open.length === 0) return;
  say(
    `Canceling ${open.length === 1 ? 'the job' : `${open.length} jobs`} that an earlier quickstart left unfinished.`,
  );
  const canceled: string[] = [];
  for (const { jobId } of open) {
    await client.cancel(jobId, 'left unfinished by an earlier quickstart', signal).then(
      () => canceled.push(jobId),
      (error: unknown) => {
        // It has ended meanwhile, or is about to.
        if (!(error instanceof ApiError)) throw error;
      },
    );
  }
  const end = Date.now() + STOP_MS;
  for (const jobId of canceled) {
    const quiet = async () => {
      const { cancelReceipt } = await client.get(jobId, signal);
      return !cancelReceipt || ['stopped', 'fenced'].includes(cancelReceipt.state);
    };
    await poll(quiet, { timeout: end - Date.now(), every: 50 });
  }
}

async function openJobs(client: Jobs, signal: AbortSignal): Promise<Job[]> {
  const open: Job[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.list({ limit: PAGE, ...(cursor !== undefined && { cursor }) }, signal);
    open.push(...page.jobs.filter(({ status }) => !isFinal(status) && status !== 'scheduled'));
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return open;
}

/** Empties the place of the copy. */
export async function clearTarget(target: string): Promise<void> {
  await rm(target, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
