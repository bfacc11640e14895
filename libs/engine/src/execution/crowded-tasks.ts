import { Injectable } from '@nestjs/common';
import { Database } from '@app/platform/prisma/database.js';
import { Sweeper } from '../queue/sweeper.js';
import { Sandboxes } from '../sandbox/sandboxes.js';
import { type Delivery, lookAgain } from '../store/dispatch.js';
import { GrowingPauses } from './growing-pauses.js';

/** Short at first, for another worker may have room; then this one offers it again as soon as it has. */
const PAUSE_MS = { first: 500, most: 60_000 };
/** While there is room and a task that was called has not come, the next one is called after this. */
const CALL_AGAIN_MS = 1000;
/** Tasks that are remembered to be called; others come again when their pause is over. */
const REMEMBERED = 1000;

/**
 * Tasks that were handed back because they have to run in a process of their own and there was no room for one: they wait
 * in Postgres, without a slot, for whoever has room first.
 */
@Injectable()
export class CrowdedTasks {
  private readonly pauses = new GrowingPauses(PAUSE_MS);
  /** As they lie in Postgres, in the order in which they came. */
  private readonly waiting = new Map<string, Delivery>();
  private calling: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly database: Database,
    private readonly sandboxes: Sandboxes,
    private readonly sweeper: Sweeper,
  ) {
    sandboxes.onRoom = () => this.call();
  }

  /** Whether a task would only be handed back again. */
  has(taskId: string): boolean {
    return this.pauses.has(taskId) && !this.sandboxes.hasRoom;
  }

  /** For how long a task is handed back, in milliseconds: not at all when the worker stops, for others may have room. */
  pause(taskId: string): number {
    return this.stopped ? 0 : this.pauses.next(taskId);
  }

  /** A task has been handed back: what was written of it. */
  add(delivery: Delivery): void {
    if (this.waiting.size < REMEMBERED) this.waiting.set(delivery.taskId, delivery);
    this.call();
  }

  /** A task has found a place. */
  entered(taskId: string): void {
    this.pauses.forget(taskId);
    this.waiting.delete(taskId);
  }

  /** Leaves all of them to others at once. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.calling;
    const rest = [...this.waiting.values()];
    this.waiting.clear();
    if (rest.length > 0) await lookAgain(this.database.main, rest, 0).catch(() => {});
  }

  /** Calls the next one, if there is room for it. */
  private call(): void {
    if (this.stopped || this.waiting.size === 0 || !this.sandboxes.hasRoom) return;
    this.calling ??= this.callOne()
      // Without Postgres they wait for the end of their pauses.
      .catch(() => {})
      .finally(() => (this.calling = undefined));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.call(), CALL_AGAIN_MS).unref();
  }

  private async callOne(): Promise<void> {
    for (const [taskId, delivery] of this.waiting) {
      this.waiting.delete(taskId);
      // Of those that others have taken meanwhile nothing is found.
      if ((await lookAgain(this.database.main, [delivery], 0)) > 0) return this.sweeper.poke();
    }
  }
}
