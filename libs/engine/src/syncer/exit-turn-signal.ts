/** Why the signal of an exit hook was raised: its time is over, its turn is lost, or the process stops. */
export type ExitTurnEnd = 'limit' | 'lost' | 'stop';

const WORDS: Record<ExitTurnEnd, string> = {
  limit: 'its time is over',
  lost: 'its turn is lost',
  stop: 'the worker stops',
};

/** Keeps a turn at an exit hook by renewing it, and raises the signal of the hook when it is to end. */
export class ExitTurnSignal {
  private readonly controller = new AbortController();
  private readonly renewal: NodeJS.Timeout;
  private readonly lease: NodeJS.Timeout;
  private readonly limit: NodeJS.Timeout;
  private readonly onStop = () => this.raise('stop');
  private reason: ExitTurnEnd | undefined;

  /** @param renew answers false when the turn is over; may reject when that cannot be told */
  constructor(
    leaseMs: number,
    limitMs: number,
    private readonly stop: AbortSignal,
    renew: () => Promise<boolean>,
  ) {
    // A little before the lease ends in Postgres, for the answer to a renewal comes after it was made.
    this.lease = setTimeout(() => this.raise('lost'), leaseMs * 0.9);
    this.limit = setTimeout(() => this.raise('limit'), limitMs);
    this.renewal = setInterval(() => {
      renew().then(
        (held) => (held ? this.lease.refresh() : this.raise('lost')),
        () => {},
      );
    }, leaseMs / 3);
    stop.addEventListener('abort', this.onStop, { once: true });
    if (stop.aborted) this.onStop();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Why the signal was raised, if it was: the first reason, but for a lost turn, which beats the others. */
  get ended(): ExitTurnEnd | undefined {
    return this.reason;
  }

  /** Waits for the hook, after the signal was raised no longer than the grace. Rejects as it does, or when it is late. */
  within(hook: Promise<unknown>, graceMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let late: NodeJS.Timeout | undefined;
      const wait = () => (late = setTimeout(() => reject(this.signal.reason as Error), graceMs));
      if (this.signal.aborted) wait();
      else this.signal.addEventListener('abort', wait, { once: true });
      void hook.then(resolve, reject).finally(() => {
        clearTimeout(late);
        this.signal.removeEventListener('abort', wait);
      });
    });
  }

  /** Ends the renewals. */
  close(): void {
    clearInterval(this.renewal);
    clearTimeout(this.lease);
    clearTimeout(this.limit);
    this.stop.removeEventListener('abort', this.onStop);
  }

  private raise(reason: ExitTurnEnd): void {
    if (this.reason === undefined || reason === 'lost') this.reason = reason;
    if (this.controller.signal.aborted) return;
    this.controller.abort(new DOMException(`The exit hook is to stop: ${WORDS[reason]}.`, 'AbortError'));
  }
}
