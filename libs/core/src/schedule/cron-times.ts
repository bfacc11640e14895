import { CronPattern } from 'croner';

/** Characters of an expression. */
export const LONGEST_CRON = 100;
const DAY_S = 86_400;
const DAY_MS = DAY_S * 1000;
/** Between two leap days, over a century without one, lie eight years. */
const MOST_DAYS = 8 * 366 + 2;

/** What may stand in a field: numbers, names of months and days, and what joins them. No L, W, # and ?. */
const FIELDS =
  /^[\d*,/ -]*(?:(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT)[\d*,/ -]*)*$/i;
const ALIASES: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

/**
 * The wall-clock times that a cron expression names, whatever the zone. A wall time is counted in milliseconds as if it
 * were UTC.
 */
export class CronTimes {
  /** Whether it names every hour of the day, so that it follows real time and not the clock on the wall. */
  readonly everyHour: boolean;
  private readonly seconds: number[];
  private readonly minutes: number[];
  private readonly hours: number[];

  private constructor(private readonly pattern: CronPattern) {
    this.seconds = indexes(pattern.second);
    this.minutes = indexes(pattern.minute);
    this.hours = indexes(pattern.hour);
    this.everyHour = this.hours.length === 24;
  }

  /**
   * Reads an expression of five fields, or of six with seconds first.
   * @throws {RangeError} saying what is wrong with it, also when no date can ever match
   */
  static parse(expression: string): CronTimes {
    if (expression.length > LONGEST_CRON) {
      throw new RangeError(`A cron expression has at most ${LONGEST_CRON} characters.`);
    }
    const text = ALIASES[expression.toLowerCase()] ?? expression;
    if (text.startsWith('@every')) throw new RangeError('Give every instead: a duration such as 10m.');
    if (text.startsWith('@')) throw new RangeError(`The aliases are ${Object.keys(ALIASES).join(', ')}.`);
    if (!/^\S+( +\S+){4,5}$/.test(text)) {
      throw new RangeError('A cron expression has five fields, or six with seconds first.');
    }
    if (!FIELDS.test(text)) {
      throw new RangeError('A field has numbers, names such as MON or JAN, and the signs * , - and /.');
    }
    const times = new CronTimes(parsePattern(text));
    if (!times.canMatch()) throw new RangeError('No date matches this expression, in any year.');
    return times;
  }

  /** The next time after a wall time. */
  next(afterMs: number): number {
    const from = Math.floor(afterMs / 1000) + 1;
    let day = Math.floor(from / DAY_S);
    let second = from - day * DAY_S;
    for (const last = day + MOST_DAYS; day <= last; day = this.dayAfter(day), second = 0) {
      const time = this.hasDay(day) ? this.timeFrom(second) : undefined;
      if (time !== undefined) return day * DAY_MS + time * 1000;
    }
    throw new RangeError('No date matches this expression.');
  }

  /** How many there are after one wall time, up to another one. */
  count(afterMs: number, untilMs: number): number {
    if (untilMs <= afterMs) return 0;
    const [first, last] = [Math.floor(afterMs / DAY_MS), Math.floor(untilMs / DAY_MS)];
    const upTo = (day: number, ms: number) =>
      this.hasDay(day) ? this.timesUpTo(Math.floor((ms - day * DAY_MS) / 1000)) : 0;
    const perDay = this.hours.length * this.minutes.length * this.seconds.length;
    let sum = upTo(last, untilMs) - upTo(first, afterMs);
    for (let day = first; day < last; day = this.dayAfter(day)) if (this.hasDay(day)) sum += perDay;
    return sum;
  }

  /** The shortest time between two of them, in milliseconds, as if every day had them. */
  get shortestMs(): number {
    let [shortest, first, before] = [DAY_S, -1, -1];
    for (let time = this.timeFrom(0); time !== undefined; time = this.timeFrom(time + 1)) {
      if (first === -1) first = time;
      else shortest = Math.min(shortest, time - before);
      before = time;
      if (shortest === 1) break;
    }
    return Math.min(shortest, DAY_S - before + first) * 1000;
  }

  /** The day after one, or the first of the next month where none of its month can match. */
  private dayAfter(day: number): number {
    const date = new Date(day * DAY_MS);
    if (this.pattern.month[date.getUTCMonth()]) return day + 1;
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) / DAY_MS;
  }

  private hasDay(day: number): boolean {
    const date = new Date(day * DAY_MS);
    const { pattern } = this;
    if (!pattern.month[date.getUTCMonth()]) return false;
    const ofMonth = Boolean(pattern.day[date.getUTCDate() - 1]);
    const ofWeek = Boolean(pattern.dayOfWeek[date.getUTCDay()]);
    // As cron has it: of two days that are both limited either will do.
    if (!pattern.starDOM && !pattern.starDOW) return ofMonth || ofWeek;
    return ofMonth && ofWeek;
  }

  private canMatch(): boolean {
    const { month, day, starDOM, starDOW } = this.pattern;
    if (!starDOM && !starDOW) return true;
    // 2024 has every day that a year can have.
    return indexes(month).some((m) =>
      indexes(day).some((d) => d + 1 <= new Date(Date.UTC(2024, m + 1, 0)).getUTCDate()),
    );
  }

  /** The first second of the day from a given one on. */
  private timeFrom(second: number): number | undefined {
    const [h, m, s] = [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60];
    for (const hour of this.hours) {
      if (hour < h) continue;
      for (const minute of this.minutes) {
        if (hour === h && minute < m) continue;
        const least = hour === h && minute === m ? s : 0;
        const found = this.seconds.find((value) => value >= least);
        if (found !== undefined) return hour * 3600 + minute * 60 + found;
      }
    }
    return undefined;
  }

  private timesUpTo(second: number): number {
    const [h, m, s] = [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60];
    let sum = below(this.hours, h) * this.minutes.length * this.seconds.length;
    if (!this.hours.includes(h)) return sum;
    sum += below(this.minutes, m) * this.seconds.length;
    return this.minutes.includes(m) ? sum + below(this.seconds, s + 1) : sum;
  }
}

function parsePattern(text: string): CronPattern {
  try {
    return new CronPattern(text, undefined, { mode: '5-or-6-parts' });
  } catch (error) {
    throw new RangeError((error as Error).message.replace('CronPattern: ', ''), { cause: error });
  }
}

const below = (list: number[], value: number) => list.filter((item) => item < value).length;

function indexes(flags: ArrayLike<number>): number[] {
  return Array.from(flags).flatMap((flag, index) => (flag ? [index] : []));
}
