import { Injectable } from '@nestjs/common';

/** A part that gives no sign for so long does nothing any more, in milliseconds. */
const SILENCE_MS = 60_000;

/**
 * Whether this process still takes work. Its parts give signs of life; a process that lives and takes nothing is
 * worse than one that is gone, for nobody replaces it.
 */
@Injectable()
export class EngineHealth {
  private readonly signs = new Map<string, number>();
  private stuckReason: string | undefined;
  private listener: ((reason: string) => void) | undefined;

  /** A part of the engine came round once more. */
  sign(part: string): void {
    this.signs.set(part, performance.now());
  }

  /** A part has stopped of its own will: it gives no signs any more. */
  retire(part: string): void {
    this.signs.delete(part);
  }

  /** The process can take no more work, and only a new one will. */
  stuck(reason: string): void {
    if (this.stuckReason !== undefined) return;
    this.stuckReason = reason;
    this.listener?.(reason);
  }

  /** Calls back when the process should be ended, its running tasks brought to their end first. */
  onStuck(listener: (reason: string) => void): void {
    this.listener = listener;
    if (this.stuckReason !== undefined) listener(this.stuckReason);
  }

  /** Why this process should be replaced, or undefined. */
  get trouble(): string | undefined {
    if (this.stuckReason !== undefined) return this.stuckReason;
    const silent = [...this.signs].find(([, at]) => performance.now() - at > SILENCE_MS);
    return silent && `the ${silent[0]} has given no sign of life for a minute`;
  }
}
