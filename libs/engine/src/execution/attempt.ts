import type { RunningTask } from './running-tasks.js';

/** How a handler's work ended; `unstoppable`: it did not end within the grace after its signal was raised. */
export type Settlement =
  { kind: 'returned'; value: unknown } | { kind: 'threw'; error: unknown } | { kind: 'unstoppable' };

/** Waits for a handler, and after it was asked to stop not longer than the grace. Never rejects. */
export function settle(work: Promise<unknown>, running: RunningTask, graceMs: number): Promise<Settlement> {
  return new Promise((resolve) => {
    let overdue: NodeJS.Timeout | undefined;
    running.onAbort(() => {
      overdue = setTimeout(() => resolve({ kind: 'unstoppable' }), graceMs);
    });
    const end = (settlement: Settlement) => {
      running.onAbort(undefined);
      clearTimeout(overdue);
      resolve(settlement);
    };
    work.then(
      (value) => end({ kind: 'returned', value }),
      (error: unknown) => end({ kind: 'threw', error }),
    );
  });
}
