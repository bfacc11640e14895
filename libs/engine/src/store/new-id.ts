import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const SIZE = 16;
/** Asked of the system for many ids at a time: the call costs more than all else about an id. */
const pool = new Uint8Array(1024 * SIZE);
let used = pool.length;
let latest = 0;
let sequence = 0;

/** A UUID version 7 (RFC 9562): ids of one process rise in the order in which they were made. */
export function newId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const random = pool.subarray(used, used + SIZE);
  used += SIZE;
  const now = Date.now();
  if (now > latest) {
    latest = now;
    // Begins at random, below half of its 32 bits: what is left no millisecond can use up.
    sequence = new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 1;
  } else sequence++;
  return v7({ random, msecs: latest, seq: sequence });
}
