import { CronTimes } from './cron-times.js';
import { Zone } from './zone.js';

const DAY_MS = 86_400_000;
/** No slot lies beyond the year 9999. */
const END_OF_TIME = Date.UTC(10_000, 0, 1);

/** What makes a schedule's slots. Either `cron` or `everyMs` is given. */
export interface SlotRule {
  cron: string | null;
  /** Milliseconds between slots, counted from `anchor` in real time. */
  everyMs: number | null;
  anchor: Date;
  /** The IANA zone on whose clocks a cron expression is read. */
  timezone: string;
  /** No slot is before it. */
  startAt: Date | null;
  /** No slot is at it or later. */
  endAt: Date | null;
}

/** One instant of a rule. */
export interface Slot {
  at: Date;
  /** Whether it stands for a time that the clocks skip on that day. */
  gap: boolean;
}

/**
 * The slots of a rule. When the clocks change:
 * an expression that names every hour, and `every`, keep their real spacing, so that they come in both passes of an hour
 * that is repeated, and not in an hour that is skipped; every other expression comes once for each of its times, in the
 * first pass of a repeated hour, and for all that lie in a skipped hour at the first instant after it.
 */
export class Slots {
  private readonly timing: { next(after: number): Moment; count(after: number, until: number): number };
  private readonly from: number;
  private readonly to: number;

  /** @throws {RangeError} when the expression or the zone cannot be read */
  constructor(rule: SlotRule) {
    this.timing =
      rule.cron === null
        ? new Every(rule.everyMs ?? 0, rule.anchor.getTime())
        : cronTiming(CronTimes.parse(rule.cron), new Zone(rule.timezone));
    this.from = rule.startAt === null ? -Infinity : rule.startAt.getTime();
    this.to = Math.min(rule.endAt?.getTime() ?? Infinity, END_OF_TIME);
  }

  /** The first slot after an instant; undefined when there is none any more. */
  next(after: Date): Slot | undefined {
    const { at, gap } = this.timing.next(Math.max(after.getTime(), this.from - 1));
    return at < this.to ? { at: new Date(at), gap } : undefined;
  }

  /** The first slots after an instant, `limit` at most. */
  after(after: Date, limit: number): Slot[] {
    const slots: Slot[] = [];
    for (let slot = this.next(after); slot && slots.length < limit; slot = this.next(slot.at))
      slots.push(slot);
    return slots;
  }

  /** How many slots there are after an instant, up to another one; they are not enumerated. */
  count(after: Date, until: Date): number {
    const from = Math.max(after.getTime(), this.from - 1);
    const to = Math.min(until.getTime(), this.to - 1);
    return to <= from ? 0 : this.timing.count(from, to);
  }

  /** The last slots after an instant and up to another one, `limit` at most, in their order. */
  last(after: Date, until: Date, limit: number): Slot[] {
    const [least, end] = [after.getTime(), until.getTime()];
    // The latest instant after which there are still so many, between one with fewer and one with enough.
    let [enough, fewer] = [end, end];
    for (let back = 1000; enough > least && this.count(new Date(enough), until) < limit; back *= 2) {
      fewer = enough;
      enough = Math.max(least, end - back);
    }
    if (enough === least && this.count(after, until) <= limit) return this.within(after, until, limit);
    while (fewer - enough > 1) {
      const middle = Math.floor((enough + fewer) / 2);
      if (this.count(new Date(middle), until) < limit) fewer = middle;
      else enough = middle;
    }
    return this.within(new Date(enough), until, limit);
  }

  private within(after: Date, until: Date, limit: number): Slot[] {
    return this.after(after, limit).filter((slot) => slot.at <= until);
  }
}

interface Moment {
  at: number;
  gap: boolean;
}

function cronTiming(times: CronTimes, zone: Zone) {
  return times.everyHour ? new RealTime(times, zone) : new WallTime(times, zone);
}

class Every {
  constructor(
    private readonly everyMs: number,
    private readonly anchor: number,
  ) {}

  next(after: number): Moment {
    const nth = Math.max(0, Math.floor((after - this.anchor) / this.everyMs) + 1);
    return { at: this.anchor + nth * this.everyMs, gap: false };
  }

  count(after: number, until: number): number {
    const upTo = (instant: number) => Math.max(0, Math.floor((instant - this.anchor) / this.everyMs) + 1);
    return upTo(until) - upTo(after);
  }
}

/** Each wall time once. Instants rise with their wall times, for of a repeated hour only the first pass counts. */
class WallTime {
  constructor(
    private readonly times: CronTimes,
    private readonly zone: Zone,
  ) {}

  next(after: number): Moment {
    return this.zone.instantOf(this.times.next(this.lastUpTo(after)));
  }

  count(after: number, until: number): number {
    const [first, last] = [this.lastUpTo(after), this.lastUpTo(until)];
    let sum = this.times.count(first, last);
    for (const { start, end } of gaps(this.zone, after, until)) {
      // All times of a gap are one slot, which a time at the very end of the gap has too.
      const skipped = this.times.count(start - 1, end - 1);
      const shared = this.times.count(end - 1, end) > 0;
      if (skipped > 0) sum -= shared ? skipped : skipped - 1;
    }
    return sum;
  }

  /** The last wall time whose instant is not after a given one. */
  private lastUpTo(instant: number): number {
    const wall = this.zone.wallOf(instant);
    if (this.zone.instantOf(wall).at === instant) return wall;
    // The second pass of a repeated hour: all that it shows was there before.
    let [low, high] = [wall, wall + 2 * DAY_MS];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.zone.instantOf(middle).at <= instant) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** Every instant whose wall time matches. */
class RealTime {
  constructor(
    private readonly times: CronTimes,
    private readonly zone: Zone,
  ) {}

  next(after: number): Moment {
    for (let from = after; ;) {
      const offset = this.zone.offset(from);
      const change = this.zone.changeIn(from, from + DAY_MS);
      const at = this.times.next(from + offset) - offset;
      if (at < (change ?? from + DAY_MS)) return { at, gap: false };
      if (change === undefined) {
        // Days without a match are passed over, all but the last two: the clocks may change in those.
        from = Math.max(from + DAY_MS, at - 2 * DAY_MS) - 1;
        continue;
      }
      const shown = this.zone.wallOf(change);
      if (this.times.next(shown - 1) === shown) return { at: change, gap: false };
      from = change;
    }
  }

  count(after: number, until: number): number {
    let sum = 0;
    for (let from = after; from < until;) {
      const offset = this.zone.offset(from);
      const day = Math.min(until, from + DAY_MS);
      const change = this.zone.changeIn(from, day);
      const to = change === undefined ? day : change - 1;
      sum += this.times.count(from + offset, to + offset);
      if (change !== undefined) {
        const first = change + this.zone.offset(change);
        sum += this.times.count(first - 1, first);
      }
      from = change ?? day;
    }
    return sum;
  }
}

/** The wall times that the clocks skip after an instant and up to another one: from `start`, before `end`. */
function* gaps(zone: Zone, after: number, until: number): Generator<{ start: number; end: number }> {
  for (let from = after; from < until;) {
    const day = Math.min(until, from + DAY_MS);
    const change = zone.changeIn(from, day);
    if (change !== undefined) {
      const [start, end] = [change + zone.offset(change - 1), change + zone.offset(change)];
      if (end > start) yield { start, end };
    }
    from = change ?? day;
  }
}
