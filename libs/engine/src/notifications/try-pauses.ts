/** Pauses between the tries of a delivery, in multiples of NOTICE_RETRY: with 5 s they are 5 s, 30 s, 5 min, 30 min, 2 h, 5 h, 10 h. */
const PAUSES = [1, 6, 60, 360, 1440, 3600, 7200];

/** Tries in all. */
export const MOST_TRIES = PAUSES.length + 1;

/**
 * Milliseconds until the next try after so many, a fifth more or less so that not all come at one moment; undefined when
 * it was the last one.
 */
export function pauseAfter(tries: number, unitMs: number, random = Math.random()): number | undefined {
  const pause = PAUSES[tries - 1];
  return pause === undefined ? undefined : pause * unitMs * (0.8 + 0.4 * random);
}
