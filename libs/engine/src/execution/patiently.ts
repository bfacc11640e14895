import { isDisconnect } from '@app/platform/prisma/sql-errors.js';
import { EffectError } from '../store/commit-effect.js';
import { outagePause } from './outage-pause.js';
import type { RunningTask } from './running-tasks.js';

/**
 * Repeats a write of a handler while Postgres is away, for that is no fault of the handler: as long as its attempt may
 * go on, which is at most until its lease ends. The write must come to the same when it is repeated.
 */
export async function patiently<T>(running: RunningTask, write: () => Promise<T>): Promise<T> {
  for (const pause = outagePause(); ;) {
    try {
      return await write();
    } catch (error) {
      if (error instanceof EffectError) throw error.cause;
      if (!isDisconnect(error)) throw error;
      running.throwIfAborted();
      await pause();
      running.throwIfAborted();
    }
  }
}
