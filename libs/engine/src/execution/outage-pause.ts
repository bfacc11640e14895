import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds between two tries while Postgres cannot be reached. */
const PAUSE_MS = { least: 50, most: 1000 };

/** Waits, longer each time, before another try; with jitter, so that not all come back at one moment. */
export function outagePause(): () => Promise<void> {
  let pause = PAUSE_MS.least;
  return async () => {
    await delay(pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, PAUSE_MS.most);
  };
}
