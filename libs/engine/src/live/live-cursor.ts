import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Place } from './live-event.js';
import { packSeen, parse36, type SeenTransactions, unpackSeen } from './seen-transactions.js';

/** What was read at one look: transactions that are in `to` and not in `from`. */
export interface LookRange {
  from: SeenTransactions;
  to: SeenTransactions;
  /** Up to where marks of progress had been read before. */
  marks: SeenTransactions;
}

/**
 * Which reader goes on from a cursor. That of a `job` may name a look from the beginning of all: the feed must not read it,
 * for it would read everything of everybody.
 */
export type CursorKind = 'feed' | 'job';

/** A place in the feed, from which any process can go on. */
export interface LiveCursor extends LookRange {
  /** When it was read, in milliseconds since 1970. */
  at: number;
  /** Within the look; left out: behind all of it. */
  place?: Place;
}

/** Letters of a signature. */
const SIGNATURE = 16;
/**
 * Letters of a cursor: some hundred open transactions in each of its looks. Longer ones are not written: nobody could hand
 * them back in an address.
 */
export const LONGEST_CURSOR = 6000;
/** Letters of a place, at most. */
const PLACE = 22;

/** What the cursors of one look begin with. Signed once for all of them. */
export function cursorHead(
  key: Buffer,
  kind: CursorKind,
  { from, to, marks }: LookRange,
  at: number,
): string {
  const text = [at.toString(36), packSeen(from), packSeen(to), packSeen(marks)].join('.');
  const head = `${sign(key, kind, text)}.${text}`;
  return head.length + PLACE > LONGEST_CURSOR ? '' : head;
}

/** The cursor of an event. What is not signed tells only where the reader was among what is its own. */
export function cursorOf(head: string, { seq, nth }: Place): string {
  return head === '' ? '' : `${head}.${seq.toString(36)}.${nth.toString(36)}`;
}

/** Reads a cursor; undefined when it is none of this kind that was given out for this database. */
export function readCursor(key: Buffer, kind: CursorKind, text: string): LiveCursor | undefined {
  if (text.length > LONGEST_CURSOR) return undefined;
  const [signature = '', at = '', from = '', to = '', marks = '', ...rest] = text.split('.');
  const signed = [at, from, to, marks].join('.');
  const expected = Buffer.from(sign(key, kind, signed));
  const given = Buffer.from(signature);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const [seenFrom, seenTo, seenMarks] = [unpackSeen(from), unpackSeen(to), unpackSeen(marks)];
  const place = rest.length === 0 ? undefined : placeOf(rest);
  if (!seenFrom || !seenTo || !seenMarks || (rest.length > 0 && !place)) return undefined;
  return {
    at: Number(parse36(at)),
    from: seenFrom,
    to: seenTo,
    marks: seenMarks,
    ...(place ? { place } : {}),
  };
}

function placeOf([seq = '', nth = '', ...more]: string[]): Place | undefined {
  const sane = more.length === 0 && /^[0-9a-z]{1,13}$/.test(seq) && /^[0-9a-z]{1,6}$/.test(nth);
  return sane ? { seq: parse36(seq), nth: Number.parseInt(nth, 36) } : undefined;
}

function sign(key: Buffer, kind: CursorKind, text: string): string {
  return createHmac('sha256', key).update(`${kind} ${text}`).digest('base64url').slice(0, SIGNATURE);
}
