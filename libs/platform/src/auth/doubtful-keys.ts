import { TooManyFailuresError } from './auth-errors.js';
import type { FailedCredentials } from './failed-credentials.js';

/** Keys that wait to be looked up one after the other. More are told to come again. */
const MOST_WAITING = 100;

/**
 * Looks up keys that are not known here to be right, which anybody can make up. Those of an address that has presented too
 * many wrong ones, or may just be doing so, are looked up one at a time in this process, so that they cannot take the
 * connections of everybody else; a right one among them has its turn too.
 */
export class DoubtfulKeys {
  private readonly pending = new Map<string, number>();
  private lane: Promise<unknown> = Promise.resolve();
  private waiting = 0;

  constructor(private readonly failures: FailedCredentials) {}

  /** @throws {TooManyFailuresError} without looking, when too many wait already; what `look` throws */
  async lookUp<T>(address: string, look: () => Promise<T>): Promise<T> {
    const others = this.pending.get(address) ?? 0;
    const wait = this.failures.waitWith(address, others);
    if (wait !== undefined && this.waiting >= MOST_WAITING) throw new TooManyFailuresError(wait);
    this.pending.set(address, others + 1);
    try {
      return await (wait === undefined ? look() : this.inTurn(look));
    } finally {
      const left = (this.pending.get(address) ?? 1) - 1;
      if (left > 0) this.pending.set(address, left);
      else this.pending.delete(address);
    }
  }

  private async inTurn<T>(look: () => Promise<T>): Promise<T> {
    this.waiting++;
    const turn = this.lane.then(look);
    this.lane = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.waiting--;
    }
  }
}
