import { setTimeout as delay } from 'node:timers/promises';

/** How a handler's work ended; `unstoppable`: it did not end within the grace after its signal was raised. */
export type Settlement =
  { kind: 'returned'; value: unknown } | { kind: 'threw'; error: unknown } | { kind: 'unstoppable' };

/** Waits for a handler, and after its signal was raised not longer than the grace. Never rejects. */
export async function settle(
  work: Promise<unknown>,
  signal: AbortSignal,
  graceMs: number,
): Promise<Settlement> {
  const done = work.then(
    (value): Settlement => ({ kind: 'returned', value }),
    (error: unknown): Settlement => ({ kind: 'threw', error }),
  );
  const stop = new AbortController();
  const overdue = aborted(signal, stop.signal)
    .then(() => delay(graceMs, undefined, { signal: stop.signal }))
    .then(
      (): Settlement => ({ kind: 'unstoppable' }),
      () => done,
    );
  return Promise.race([done, overdue]).finally(() => stop.abort());
}

/** Resolves when `signal` is raised; listens no longer than until `stop`. */
function aborted(signal: AbortSignal, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true, signal: stop });
  });
}
