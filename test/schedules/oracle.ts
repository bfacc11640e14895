import { Temporal } from 'temporal-polyfill';
import { Slots } from '@app/core';

const MINUTE = 60_000;
const DAY = 86_400_000;

/** What is compared: expressions whose hour is fixed, and such that follow real time. All of whole minutes. */
export const EXPRESSIONS = [
  '0 0 * * *',
  '30 0 * * *',
  '30 1 * * *',
  '30 2 * * *',
  '*/10 2 * * *',
  '0 2,3 * * *',
  '0 */2 * * *',
  '59 23 * * 6,0',
  '*/13 1-4 * 3,4,9-11 *',
  '0 0 1,29 * 5',
  '*/30 * * * *',
  '7 0-23 * * *',
  '15 */1 * * 0',
];

/** What a comparison has found. */
export interface Compared {
  transitions: number;
  instants: number;
  differences: string[];
}

/**
 * Compares the slots of every expression in a zone with an oracle that knows nothing of the calculator: it goes through
 * a window minute by minute, asks Temporal what the clocks show, and applies the rule as it is written in
 * docs/schedules.md.
 */
export function compareZone(zone: string, from: Date, to: Date, days: number, samples: number): Compared {
  const changes = transitionsOf(zone, from, to);
  const windows = changes.map((change) => ({ start: change - days * DAY, end: change + days * DAY }));
  for (let nth = 0; nth < samples; nth++) {
    const start =
      from.getTime() +
      Math.floor(((to.getTime() - from.getTime()) * (nth + 0.5)) / samples / MINUTE) * MINUTE;
    windows.push({ start, end: start + 2 * DAY });
  }
  const all: Compared = { transitions: changes.length, instants: 0, differences: [] };
  for (const { start, end } of windows) {
    const clock = readClock(zone, start - 2 * DAY, end + 2 * DAY);
    for (const cron of EXPRESSIONS) {
      const expected = expectedSlots(cron, clock).filter((at) => at > start && at <= end);
      all.instants += expected.length;
      all.differences.push(...compare(zone, cron, start, end, expected));
    }
  }
  return all;
}

function compare(zone: string, cron: string, start: number, end: number, expected: number[]): string[] {
  const anchor = new Date(0);
  const slots = new Slots({ cron, everyMs: null, anchor, timezone: zone, startAt: null, endAt: null });
  const [after, until] = [new Date(start), new Date(end)];
  const found: number[] = [];
  for (let slot = slots.next(after); slot && slot.at <= until; slot = slots.next(slot.at))
    found.push(slot.at.getTime());
  const last = slots.last(after, until, 3).map((slot) => slot.at.getTime());
  const differ = [
    [found, expected],
    [[slots.count(after, until)], [expected.length]],
    [last, expected.slice(-3)],
  ].some(([a, b]) => JSON.stringify(a) !== JSON.stringify(b));
  if (!differ) return [];
  const odd = [
    ...found.filter((at) => !expected.includes(at)),
    ...expected.filter((at) => !found.includes(at)),
  ];
  const places = odd.slice(0, 3).map((at) => new Date(at).toISOString());
  return [
    `${zone} "${cron}" from ${after.toISOString()}: ${places.join(', ') || 'the count or the last ones'}`,
  ];
}

function transitionsOf(zone: string, from: Date, to: Date): number[] {
  const changes: number[] = [];
  let at: Temporal.ZonedDateTime | null = Temporal.Instant.fromEpochMilliseconds(
    from.getTime(),
  ).toZonedDateTimeISO(zone);
  while ((at = at.getTimeZoneTransition('next')) && at.epochMilliseconds < to.getTime())
    changes.push(at.epochMilliseconds);
  return changes;
}

/** What the clocks of a zone show at each minute. */
function readClock(zone: string, from: number, to: number): { at: number; wall: number }[] {
  const shown: { at: number; wall: number }[] = [];
  for (let at = from; at <= to; at += MINUTE) {
    const { offsetNanoseconds } = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone);
    shown.push({ at, wall: at + offsetNanoseconds / 1e6 });
  }
  return shown;
}

function expectedSlots(cron: string, clock: { at: number; wall: number }[]): number[] {
  const matches = matcherOf(cron);
  const hours = Array.from({ length: 24 }, (_, hour) => hour);
  if (hours.every((hour) => fieldOf(cron, 1).has(hour))) {
    return clock.filter(({ wall }) => matches(wall)).map(({ at }) => at);
  }
  const first = new Map<number, number>();
  for (const { at, wall } of clock) if (!first.has(wall)) first.set(wall, at);
  const slots = new Set<number>();
  const [begin, end] = [clock[0]?.wall ?? 0, clock.at(-1)?.wall ?? 0];
  for (let wall = begin; wall <= end; wall += MINUTE) {
    if (!matches(wall)) continue;
    // Skipped by the clocks: they jump from before it to after it.
    const at =
      first.get(wall) ?? clock.find((now, nth) => now.wall > wall && (clock[nth - 1]?.wall ?? 0) < wall)?.at;
    if (at !== undefined) slots.add(at);
  }
  return [...slots].toSorted((a, b) => a - b);
}

function matcherOf(cron: string): (wall: number) => boolean {
  const [minutes, hours, days, months, weekdays] = [0, 1, 2, 3, 4].map((nth) =>
    fieldOf(cron, nth),
  ) as Set<number>[];
  const stars = cron.split(' ').map((field) => field === '*');
  return (wall) => {
    if (!minutes?.has((wall / MINUTE) % 60) || !hours?.has(Math.floor(wall / (60 * MINUTE)) % 24))
      return false;
    const date = new Date(wall);
    if (!months?.has(date.getUTCMonth() + 1)) return false;
    const [ofMonth, ofWeek] = [
      days?.has(date.getUTCDate()) ?? false,
      weekdays?.has(date.getUTCDay()) ?? false,
    ];
    return stars[2] || stars[4] ? ofMonth && ofWeek : ofMonth || ofWeek;
  };
}

const RANGES = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 6],
] as const;

/** The values of a field: `*`, numbers, ranges and steps. */
function fieldOf(cron: string, nth: number): Set<number> {
  const [least, most] = RANGES[nth] ?? [0, 0];
  const values = new Set<number>();
  for (const part of (cron.split(' ')[nth] ?? '').split(',')) {
    const [range = '', step = '1'] = part.split('/');
    const [from = '', to = from] = range === '*' ? [String(least), String(most)] : range.split('-');
    for (let value = Number(from); value <= Number(to); value += Number(step)) values.add(value);
  }
  return values;
}
