import { IANAZone } from 'luxon';

const DAY_MS = 86_400_000;

/**
 * The zones that were asked for, which are at most those that there are. Their names may be written in capitals or not,
 * and all that remembers something of a zone, as Luxon does, would keep it for each way to write it.
 */
const zones = new Map<string, IANAZone>();

function zoneOf(name: string): IANAZone | undefined {
  if (name.length > 64 || !/^[A-Za-z][\w+-]*(\/[\w+-]+)*$/.test(name)) return undefined;
  const key = name.toLowerCase();
  const known = zones.get(key);
  if (known || !IANAZone.isValidZone(key)) return known;
  const zone = IANAZone.create(key);
  zones.set(key, zone);
  return zone;
}

/** Whether there is such a time zone in the data of this process. */
export function isTimeZone(name: string): boolean {
  return zoneOf(name) !== undefined;
}

/** Turns instants of a zone into wall times and back. Wall times are counted as if they were UTC; all in milliseconds. */
export class Zone {
  private readonly zone: IANAZone;

  /** @throws {RangeError} when there is no such zone */
  constructor(name: string) {
    const zone = zoneOf(name);
    if (!zone) throw new RangeError('There is no such time zone. Give a name such as Europe/Berlin.');
    this.zone = zone;
  }

  offset(instant: number): number {
    return Math.round(this.zone.offset(instant) * 60_000);
  }

  wallOf(instant: number): number {
    return instant + this.offset(instant);
  }

  /**
   * When a wall time is: the first time where the clocks show it twice, and where they skip it the first instant after
   * the gap.
   */
  instantOf(wall: number): { at: number; gap: boolean } {
    const [before, after] = [this.offset(wall - DAY_MS), this.offset(wall + DAY_MS)];
    // Clocks that are put back show a time first by the offset before.
    for (const offset of before === after ? [before] : [before, after]) {
      if (this.offset(wall - offset) === offset) return { at: wall - offset, gap: false };
    }
    return { at: this.changeIn(wall - DAY_MS, wall + DAY_MS) ?? wall - before, gap: true };
  }

  /** The first instant with another offset than at the beginning, if the offset at the end is another one. */
  changeIn(from: number, to: number): number | undefined {
    const offset = this.offset(from);
    if (this.offset(to) === offset) return undefined;
    let [low, high] = [Math.floor(from / 1000), Math.ceil(to / 1000)];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.offset(middle * 1000) === offset) low = middle;
      else high = middle;
    }
    return high * 1000;
  }
}
