import type { MisfirePolicy, SlotOutcome } from './schedule.js';
import type { Slot, Slots } from './slots.js';

/** A slot that is fired this much after it was due was missed, and is made up for if it may be. */
export const ON_TIME_MS = 60_000;

/** What is known of a schedule when its time has come. */
export interface DueSchedule {
  slots: Slots;
  /** The first slot of which nothing has been decided. */
  nextSlot: Date;
  now: Date;
  /** Milliseconds after it that a slot is due. */
  delayOf: (slot: Date) => number;
  misfire: MisfirePolicy;
  maxCatchUp: number;
  catchUpWindowMs: number;
  /** Jobs that it may still make. */
  runsLeft: number;
  /** Of a paused schedule: when it ends, which may be later than now. */
  pausedUntil: Date | undefined;
}

/** Slots with one outcome and no job of their own. */
export interface Stretch {
  slot: Date;
  until: Date | null;
  count: number;
  outcome: Extract<SlotOutcome, 'missed' | 'merged' | 'skipped-paused'>;
}

/** What is to be done: jobs for some slots, rows of the ledger for all others. */
export interface Judgement {
  fire: (Slot & { catchUp: boolean })[];
  stretches: Stretch[];
  /** The first slot of which nothing has been decided; undefined: there is none any more. */
  next: Slot | undefined;
}

/**
 * Judges all slots of a schedule that are due. A slot fires in its time when the next one is not due yet; the ones before
 * it were missed, and so was the last if it is long ago. Slots are counted, not enumerated: a schedule of every second
 * that was down for a week takes one row, and no more jobs than its policy allows.
 */
export function judgeSlots(due: DueSchedule): Judgement {
  const { slots, now, delayOf } = due;
  const begin = firstOf(due);
  const paused = begin && pausedStretch(due, begin);
  const first = paused ? slots.next(paused.until ?? paused.slot) : begin;
  if (!first || first.at > now) return { fire: [], stretches: paused ? [paused] : [], next: first };
  const isDue = ({ at }: Slot) => at.getTime() + delayOf(at) <= now.getTime();
  const wanted = Math.max(1, due.misfire === 'all' ? due.maxCatchUp : 1);
  // One more: the last may be so much delayed that it is not due yet.
  const recent = [first, ...slots.last(first.at, now, wanted + 1)].slice(-wanted - 1).filter(isDue);
  const last = recent.at(-1);
  if (!last) return { fire: [], stretches: paused ? [paused] : [], next: first };
  const could = chosen(due, recent, wanted, last);
  const fire = could.slice(0, Math.max(0, due.runsLeft));
  // Without any run left all of them lie in the stretches before.
  const beyond = fire.length === 0 ? undefined : could[fire.length];
  const skipped = stretchesOf(due, first, last, fire);
  return {
    fire,
    stretches: [
      ...(paused ? [paused] : []),
      ...skipped,
      ...(beyond ? stretch(slots, beyond.at, last.at, 'missed') : []),
    ],
    next: slots.next(last.at),
  };
}

function chosen(due: DueSchedule, recent: Slot[], most: number, last: Slot): Judgement['fire'] {
  const age = ({ at }: Slot) => due.now.getTime() - at.getTime() - due.delayOf(at);
  const isOnTime = age(last) <= ON_TIME_MS;
  const judged = recent.map((slot) => ({ ...slot, catchUp: slot !== last || !isOnTime }));
  if (due.misfire === 'skip') return judged.filter(({ catchUp }) => !catchUp);
  return judged.slice(-most).filter((slot) => !slot.catchUp || age(slot) <= due.catchUpWindowMs);
}

/** What lies before the first slot that fires. Those that fire come one after another. */
function stretchesOf(due: DueSchedule, first: Slot, last: Slot, fire: Judgement['fire']): Stretch[] {
  const [earliest] = fire;
  const end = earliest ? before(earliest.at) : last.at;
  if (due.misfire !== 'latest' || !earliest) return stretch(due.slots, first.at, end, 'missed');
  const window = new Date(due.now.getTime() - due.catchUpWindowMs - 1);
  const middle = new Date(Math.min(end.getTime(), Math.max(before(first.at).getTime(), window.getTime())));
  const begin = middle < first.at ? first : due.slots.next(middle);
  return [
    ...stretch(due.slots, first.at, middle, 'missed'),
    ...(begin ? stretch(due.slots, begin.at, end, 'merged') : []),
  ];
}

/** The slots of a pause that lie in the past, whether it has ended or not. */
function pausedStretch({ slots, now, pausedUntil }: DueSchedule, first: Slot): Stretch | undefined {
  if (!pausedUntil) return undefined;
  const end = pausedUntil < now ? before(pausedUntil) : now;
  return stretch(slots, first.at, end, 'skipped-paused')[0];
}

/**
 * The slot that was written down as the next one. The rules of its zone may have become others since, and have it no
 * more: where it comes later by them, that one is meant. Where it has come earlier, it would be lost without a row, and
 * stays what it was.
 */
function firstOf({ slots, nextSlot }: DueSchedule): Slot | undefined {
  const later = slots.next(before(nextSlot));
  if (later?.at.getTime() === nextSlot.getTime()) return later;
  const nearer = later && new Date(2 * nextSlot.getTime() - later.at.getTime() - 1);
  if (nearer && slots.count(nearer, nextSlot) === 0) return later;
  return { at: nextSlot, gap: false };
}

/** The slots from one on, up to an instant, as one row; none when the first is later. */
export function stretch(slots: Slots, from: Date, to: Date, outcome: Stretch['outcome']): Stretch[] {
  if (from > to) return [];
  const more = slots.count(from, to);
  const last = more > 0 ? slots.last(from, to, 1)[0] : undefined;
  return [{ slot: from, until: last?.at ?? null, count: 1 + more, outcome }];
}

function before(instant: Date): Date {
  return new Date(instant.getTime() - 1);
}
