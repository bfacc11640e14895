/** Lets a bounded number of processes be there at a time, first come first served. */
export class Places {
  private free: number;
  private readonly queue: (() => void)[] = [];

  constructor(count: number) {
    this.free = count;
  }

  /** Waits for a place. The returned function gives it back, once however often it is called. */
  async acquire(): Promise<() => void> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.queue.push(resolve));
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      // Handed on directly: a newcomer cannot slip in between.
      const next = this.queue.shift();
      if (next) next();
      else this.free++;
    };
  }
}
