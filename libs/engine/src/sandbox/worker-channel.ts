import type { FromSandbox, ToSandbox } from './sandbox-messages.js';

/** The worker, seen from the process that it has started. */
export class WorkerChannel {
  private listener: ((message: ToSandbox) => void) | undefined;

  /** @throws when nobody has started this process for that. */
  constructor() {
    if (!process.send) throw new Error('This process was not started by a worker.');
    process.on('message', (message: ToSandbox) => this.listener?.(message));
    // Its task is taken over by another one: what is done here any more is in vain.
    process.once('disconnect', () => process.exit(1));
    // It was killed while this process was loaded, and nobody has heard.
    if (!process.connected) process.exit(1);
  }

  /** Hears all that the worker says from now on. */
  listen(listener: (message: ToSandbox) => void): void {
    this.listener = listener;
  }

  /**
   * Says something; settled when it is on its way.
   * @throws {DataCloneError} when it holds what cannot be sent.
   */
  send(message: FromSandbox): Promise<void> {
    return new Promise((resolve) => process.send?.(message, undefined, undefined, () => resolve()));
  }
}
