import { setTimeout as delay } from 'node:timers/promises';

/** How long eventually tries, and how often, in milliseconds. */
export interface Patience {
  timeout?: number;
  every?: number;
}

/**
 * Repeats until the function no longer throws, and answers what it returned; when the time is up, throws what it
 * threw last. Put the expectations inside: `await eventually(() => expect(seen).toEqual(['done']))`.
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  { timeout = 10_000, every = 20 }: Patience = {},
): Promise<T> {
  const end = performance.now() + timeout;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() >= end) throw error;
    }
    await delay(every);
  }
}
