/** Failures in a row that open the circuit, and for how long it is open, in milliseconds, doubling each time. */
const FAILURES = 5;
const PAUSE = { first: 1000, most: 30_000 };

/**
 * Spares a service that does not answer (M. Nygard, "Release It!", 2007): after some failures in a row calls are
 * refused for a while, and then one call at a time tries whether it is back.
 */
export class CircuitBreaker {
  private failures = 0;
  private pause = PAUSE.first;
  private openUntil = 0;
  private probing = false;

  /** @param now milliseconds of a clock that never goes back */
  constructor(private readonly now: () => number = () => performance.now()) {}

  get state(): 'closed' | 'open' | 'half-open' {
    if (this.failures < FAILURES) return 'closed';
    return this.now() < this.openUntil ? 'open' : 'half-open';
  }

  /** How many calls make sense at this moment. */
  get room(): 'any' | 'one' | 'none' {
    const { state } = this;
    if (state === 'closed') return 'any';
    return state === 'open' || this.probing ? 'none' : 'one';
  }

  /** Whether a call may be made now; who is let through tells its outcome. */
  allow(): boolean {
    const { room } = this;
    if (room === 'one') this.probing = true;
    return room !== 'none';
  }

  /** Milliseconds until asking again makes sense. */
  get waitMs(): number {
    return Math.max(this.openUntil - this.now(), PAUSE.first / 4);
  }

  /** The call was not made after all. */
  released(): void {
    this.probing = false;
  }

  /** The service answered, whatever it said. */
  succeeded(): void {
    this.failures = 0;
    this.pause = PAUSE.first;
    this.probing = false;
  }

  /** The service did not answer, or not in a way that tells anything. */
  failed(): void {
    this.probing = false;
    this.failures++;
    if (this.failures < FAILURES) return;
    this.openUntil = this.now() + this.pause;
    this.pause = Math.min(this.pause * 2, PAUSE.most);
  }
}
