import { setTimeout as delay } from 'node:timers/promises';
import { isFinal, type Job, type JobProgress } from './api-answers.js';
import type { ApiClient } from './api-client.js';
import { isPassing } from './api-errors.js';
import { openView } from './progress-view.js';
import type { Output } from './surroundings.js';

const POLL_MS = 200;
const LONGEST_PAUSE_MS = 2000;
const PATIENCE_MS = 30_000;

/** How a job is watched. */
export interface WatchOptions {
  /** Where its progress is shown; nowhere when absent. */
  out?: Output;
  /** Ends the watch; the job goes on, and watchJob throws. */
  signal?: AbortSignal;
  onProgress?: (progress: JobProgress) => void;
  /** For how many milliseconds a service that does not answer is waited for, 30 s when absent. */
  patience?: number;
}

/**
 * Watches a job until it has ended, and answers it. A service that is restarted meanwhile is waited for, except at
 * the first look: then its URL may well be wrong.
 */
export async function watchJob(
  client: Pick<ApiClient, 'get' | 'progress'>,
  jobId: string,
  { out, signal, onProgress, patience = PATIENCE_MS }: WatchOptions = {},
): Promise<Job> {
  const first = await client.get(jobId, signal);
  const view = out && openView(out, first);
  const ask = <T>(question: () => Promise<T>) => patiently(question, patience, signal, () => view?.wait());
  try {
    for (;;) {
      const progress = await ask(() => client.progress(jobId, signal));
      view?.show(progress);
      onProgress?.(progress);
      if (isFinal(progress.status)) {
        const job = await ask(() => client.get(jobId, signal));
        // Somebody may have retried it in between.
        if (isFinal(job.status)) return job;
      }
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    view?.close();
  }
}

/** Asks until there is an answer, and gives up when none came for too long or a repetition cannot help. */
async function patiently<T>(
  question: () => Promise<T>,
  patience: number,
  signal: AbortSignal | undefined,
  onFailure: () => void,
): Promise<T> {
  const end = performance.now() + patience;
  for (let pause = POLL_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await question();
    } catch (error) {
      if (!isPassing(error) || performance.now() + pause > end) throw error;
    }
    onFailure();
    await delay(pause, undefined, { signal });
  }
}
