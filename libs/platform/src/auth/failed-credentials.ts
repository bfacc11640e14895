/** Wrong credentials that an address may present within a window; more are told to wait. */
const MOST = 100;
const WINDOW_MS = 60_000;
/** Addresses that are remembered; the one that was seen first is forgotten for another. */
const MOST_ADDRESSES = 10_000;

/**
 * Counts wrong credentials by the address that they came from, in this process. Only who presents one more is slowed
 * down: behind one address there may be many users, and a right key is taken whatever the others do.
 */
export class FailedCredentials {
  private readonly counts = new Map<string, { count: number; until: number }>();

  /** Notes a failure. Answers the seconds to wait when there were too many, or undefined. */
  note(address: string): number | undefined {
    const now = performance.now();
    let seen = this.counts.get(address);
    if (!seen || seen.until <= now) {
      this.counts.delete(address);
      const [first] = this.counts.keys();
      if (first !== undefined && this.counts.size >= MOST_ADDRESSES) this.counts.delete(first);
      seen = { count: 0, until: now + WINDOW_MS };
      this.counts.set(address, seen);
    }
    seen.count++;
    return seen.count > MOST ? Math.ceil((seen.until - now) / 1000) : undefined;
  }

  /** The seconds to wait if one more failure than so many others were one too many, or undefined. Notes nothing. */
  waitWith(address: string, others: number): number | undefined {
    const now = performance.now();
    const seen = this.counts.get(address);
    const { count, until } = seen && seen.until > now ? seen : { count: 0, until: now + WINDOW_MS };
    return count + others >= MOST ? Math.ceil((until - now) / 1000) : undefined;
  }
}
