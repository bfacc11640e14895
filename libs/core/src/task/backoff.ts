/** How long a task waits before its next attempt. */
export interface Backoff {
  kind: 'fixed' | 'exponential';
  /** Milliseconds before the second attempt; each further one doubles it when exponential. */
  baseMs: number;
  /** The most that it ever waits. */
  capMs: number;
}

/** 1 s doubling up to 5 min. */
export const DEFAULT_BACKOFF: Backoff = { kind: 'exponential', baseMs: 1000, capMs: 300_000 };

/**
 * Milliseconds to wait after attempt number `attempt` (1 for the first) failed. Exponential delays have
 * full jitter, that is a uniform draw between zero and the exponential bound (M. Brooker, "Exponential
 * Backoff and Jitter", AWS Architecture Blog, 2015), so that tasks which failed together do not return together.
 */
export function backoffMs(backoff: Backoff, attempt: number, random: () => number = Math.random): number {
  if (backoff.kind === 'fixed') return Math.min(backoff.baseMs, backoff.capMs);
  const bound = Math.min(backoff.capMs, backoff.baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.floor(random() * bound);
}
