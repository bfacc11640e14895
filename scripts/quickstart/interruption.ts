import { endAllStarted } from '../local/processes.js';
import type { Log } from '../local/types.js';

/** Why the quickstart is to end before it is done. */
export interface Interruption {
  signal: AbortSignal;
  /** The signal of the system that asked for it. */
  by?: NodeJS.Signals;
  /** An error that nobody caught: the servers are to be ended all the same. */
  crash?: unknown;
}

/** One Ctrl-C arrives twice: from the terminal, and from npm, which passes it on. */
const SAME_MS = 1000;

/** A Postgres that is stopped takes leave of connections that are being closed and have no listener any more. */
const GOODBYE = '57P01';

/** Longer than any end that goes well: that of the service, then of Redis and of Postgres. */
const DEADLINE_MS = 30_000;

/**
 * Watches for Ctrl-C, for other ways of being told to end, and for the loss of the terminal. What has not ended by the
 * deadline, in milliseconds after that, is left as it is.
 */
export function watchForInterruption(say: Log, deadline = DEADLINE_MS): Interruption {
  const controller = new AbortController();
  const interruption: Interruption = { signal: controller.signal };
  const giveUp = () => {
    say('Something does not end: leaving it.');
    endAllStarted();
    endBy(interruption.by ?? 'SIGTERM');
  };
  controller.signal.addEventListener('abort', () => setTimeout(giveUp, deadline).unref());
  let last = 0;
  const interrupt = () => {
    const repeated = controller.signal.aborted;
    controller.abort();
    // After the progress bar has left the terminal in order.
    if (!repeated) setImmediate(() => say('\nStopping.'));
    else if (Date.now() - last > SAME_MS)
      say('Still stopping: tasks that run are brought to their end or handed over first.');
    last = Date.now();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    process.on(signal, () => {
      interruption.by ??= signal;
      interrupt();
    });
  }
  process.on('uncaughtException', (error: NodeJS.ErrnoException) => {
    if (error.code === GOODBYE) return;
    interruption.crash ??= error;
    interrupt();
  });
  // Nobody reads any more (| head, a closed terminal): writing goes on into nothing, until all is ended.
  for (const output of [process.stdout, process.stderr]) {
    output.on('error', () => {
      interruption.by ??= 'SIGHUP';
      controller.abort();
    });
  }
  return interruption;
}

/** Dies of the signal, once all is ended: npm and the shell then say nothing of a failure. */
export function endBy(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
