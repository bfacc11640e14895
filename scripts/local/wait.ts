import { setTimeout as delay } from 'node:timers/promises';

/** Asks until the answer is truthy; undefined when the time is up. */
export async function poll<T>(
  ask: () => T | Promise<T>,
  { timeout, every = 25 }: { timeout: number; every?: number },
): Promise<T | undefined> {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() >= end) return undefined;
    await delay(every);
  }
}
