/**
 * Which transactions a reader has seen: all that had ended when it looked. It is what Postgres calls a snapshot, and unlike
 * the greatest number of a row it knows of those that were still open then, and that commit later.
 */
export interface SeenTransactions {
  /** All below have been seen, but for `open`. */
  below: bigint;
  /** Those that were still open. Ascending. */
  open: bigint[];
}

/** Reads a `pg_snapshot`: `xmin:xmax:xip,xip`. */
export function seenBy(snapshot: string): SeenTransactions {
  const [, below, open = ''] = snapshot.split(':');
  return { below: BigInt(below ?? ''), open: open === '' ? [] : open.split(',').map(BigInt) };
}

/** As Postgres reads it. */
export function toSnapshot({ below, open }: SeenTransactions): string {
  return `${open[0] ?? below}:${below}:${open.join(',')}`;
}

/** As short text of letters, digits and signs that an address may have: how far each is below the one before, from `below` down. */
export function packSeen({ below, open }: SeenTransactions): string {
  const down = [below, ...open.toReversed()];
  return [below.toString(36), ...down.slice(1).map((xid, at) => ((down[at] ?? xid) - xid).toString(36))].join(
    '-',
  );
}

/** Reads what `packSeen` has written; undefined when it cannot be that. */
export function unpackSeen(text: string): SeenTransactions | undefined {
  if (!/^[0-9a-z]{1,13}(-[0-9a-z]{1,13})*$/.test(text)) return undefined;
  const [below = 0n, ...behind] = text.split('-').map(parse36);
  let xid = below;
  const open = behind.map((by) => (xid -= by)).toReversed();
  const ascending = behind.every((by) => by > 0n) && (open[0] ?? 1n) > 0n;
  return ascending && below < 2n ** 63n ? { below, open } : undefined;
}

/** Text of base 36 as a number; `parseInt` is exact only up to 2^53. */
export function parse36(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}

/** Whether a transaction is among those that were seen. */
export function isSeen({ below, open }: SeenTransactions, xid: bigint): boolean {
  return xid < below && !open.includes(xid);
}
