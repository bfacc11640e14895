import { setTimeout as delay } from 'node:timers/promises';
import { isDisconnect } from '@app/platform/prisma/sql-errors.js';
import { EffectError } from '../store/commit-effect.js';
import type { RunningTask } from './running-tasks.js';

/** Between two tries while Postgres cannot be reached. */
const PAUSE_MS = { least: 50, most: 1000 };

/**
 * Repeats a write of a handler while Postgres is away, for that is no fault of the handler: as long as its attempt may
 * go on, which is at most until its lease ends. The write must come to the same when it is repeated.
 */
export async function patiently<T>(running: RunningTask, write: () => Promise<T>): Promise<T> {
  for (let pause = PAUSE_MS.least; ; pause = Math.min(2 * pause, PAUSE_MS.most)) {
    try {
      return await write();
    } catch (error) {
      if (error instanceof EffectError) throw error.cause;
      if (!isDisconnect(error)) throw error;
      running.throwIfAborted();
      await delay(pause * (0.5 + Math.random() / 2));
      running.throwIfAborted();
    }
  }
}
