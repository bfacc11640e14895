/** What the intake does with the consumer of one queue. */
export interface Tap {
  /** Messages that it may hold or ask for at a time, 1 at least. */
  concurrency: number;
  /** Lets it take nothing more. */
  pause(): void;
  /** Lets it ask at once, whether it was paused or only waited for its own messages to end. */
  wake(): void;
}

/** A turn that leads to no answer by then passes to the next, in milliseconds. */
const TURN_MS = 100;

/** What is known of a tap that waits for room. */
interface Wait {
  paused: boolean;
  /** It was told that there is room, and has not said yet whether there is a message. */
  woken: boolean;
}

/**
 * Shares the slots of this process among the queues that it serves, so that it takes a message only when it has a slot
 * for it: what it cannot run yet stays where an idle process finds it. A tap that was refused room, or took the last,
 * waits for its turn; every other one may ask for a single message besides those that it has. That one comes too late
 * when the slots are all taken meanwhile: it is refused, to be given back, so these are at most as many as there are
 * other queues. Only one, in the lead, may ask for as many as there are slots, for messages that are asked for one at a
 * time are claimed one at a time. A lone queue needs none of this.
 */
export class Intake {
  private readonly held = new Map<Tap, number>();
  /** In the order in which their turn comes. */
  private readonly waiting = new Map<Tap, Wait>();
  /** The one that has found a message when nobody waited, until it finds none. */
  private finding: Tap | undefined;
  private over = false;

  constructor(private readonly slots: number) {}

  /** Adds the tap of a queue, before any message is taken. */
  add(tap: Tap): void {
    this.held.set(tap, 0);
    for (const each of this.held.keys()) each.concurrency = this.held.size === 1 ? this.slots : 1;
  }

  /** Takes nothing more, and wakes nobody. */
  close(): void {
    this.over = true;
  }

  get closed(): boolean {
    return this.over;
  }

  /** A message has come. False: there is no room for it, and it must be given back. */
  arrived(tap: Tap): boolean {
    if (this.closed) return false;
    if (this.lone) return true;
    const held = this.holds(tap);
    if (!this.hasRoom(tap)) {
      // One that has others in hand is held back by their number.
      if (held === 0) tap.pause();
      this.waiting.set(tap, { paused: held === 0, woken: false });
      if (this.finding === tap) this.finding = undefined;
      this.adjust();
      return false;
    }
    this.held.set(tap, held + 1);
    this.waiting.delete(tap);
    this.finding ??= tap;
    // It may well have more: its queue is asked again in its turn.
    if (this.free === 0) this.waiting.set(tap, { paused: false, woken: false });
    this.adjust();
    return true;
  }

  /** A message that had arrived is done with. */
  left(tap: Tap): void {
    if (this.lone) return;
    this.held.set(tap, this.holds(tap) - 1);
    this.adjust(tap);
  }

  /** The tap has asked, and there was nothing; or it could not ask and will do so again by itself. */
  dry(tap: Tap): void {
    const found = this.finding === tap;
    if (found) this.finding = undefined;
    if (this.waiting.delete(tap) || found) this.adjust();
  }

  private get lone(): boolean {
    return this.held.size === 1;
  }

  private get free(): number {
    let free = this.slots;
    for (const count of this.held.values()) free -= count;
    return free;
  }

  private holds(tap: Tap): number {
    return this.held.get(tap) ?? 0;
  }

  /** The free slots belong to those that wait, in their order; what is left is for whoever comes. */
  private hasRoom(tap: Tap): boolean {
    const before = [...this.waiting.keys()].indexOf(tap);
    return (before === -1 ? this.waiting.size : before) < this.free;
  }

  /** @param ending the tap of a message that ends: it asks for the next one by itself */
  private adjust(ending?: Tap): void {
    if (this.closed) return;
    const { free } = this;
    const [first = this.finding] = this.waiting.keys();
    for (const tap of this.held.keys()) {
      const wait = this.waiting.get(tap);
      const room = this.hasRoom(tap);
      // Those that wait for less than all keep what they wait for.
      const others = tap === first ? this.waiting.size - Number(wait !== undefined) : free;
      const more = !wait || room ? Math.max(1, free - others) : 0;
      tap.concurrency = Math.max(1, this.holds(tap) + more);
      if (wait && room && !wait.woken) this.call(tap, wait, tap === ending);
    }
  }

  private call(tap: Tap, wait: Wait, asksAnyway: boolean): void {
    wait.woken = true;
    if (wait.paused || !asksAnyway) tap.wake();
    wait.paused = false;
    // BullMQ does not tell of every question that found nothing, and Redis may be away.
    setTimeout(() => {
      if (this.waiting.get(tap) === wait) this.dry(tap);
    }, TURN_MS).unref();
  }
}
