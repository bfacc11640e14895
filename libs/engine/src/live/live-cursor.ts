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

/** A place in the feed, from which any process can go on. */
export interface LiveCursor extends LookRange {
  /** When it was read, in milliseconds since 1970. */
  at: number;
  /** Within the look; left out: behind all of it. */
  place?: Place;
}

/** Letters of a signature. */
const SIGNATURE = 16;
/** Cursors of more open transactions are not written: nobody could hand them back in a header. */
const MOST_OPEN = 150;
const LONGEST = 1500;

/** What the cursors of one look begin with. Signed once for all of them. */
export function cursorHead(key: Buffer, { from, to, marks }: LookRange, at: number): string {
  if (from.open.length + to.open.length + marks.open.length > MOST_OPEN) return '';
  const text = [at.toString(36), packSeen(from), packSeen(to), packSeen(marks)].join('.');
  return `${sign(key, text)}.${text}`;
}

/** The cursor of an event. What is not signed tells only where the reader was among what is its own. */
export function cursorOf(head: string, { seq, nth }: Place): string {
  return head === '' ? '' : `${head}.${seq.toString(36)}.${nth.toString(36)}`;
}

/** Reads a cursor; undefined when it is none that was given out for this database. */
export function readCursor(key: Buffer, text: string): LiveCursor | undefined {
  if (text.length > LONGEST) return undefined;
  const [signature = '', at = '', from = '', to = '', marks = '', ...rest] = text.split('.');
  const signed = [at, from, to, marks].join('.');
  const expected = Buffer.from(sign(key, signed));
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

function sign(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url').slice(0, SIGNATURE);
}
