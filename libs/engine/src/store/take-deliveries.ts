import { Prisma, type Sql } from '@app/platform/prisma/database.js';
import type { DeliveryKind, DueDelivery } from './deliveries.js';

/** Deliveries that are looked through, the earliest first, for those of recipients that have room. */
const LOOK_THROUGH = 500;
/** Recipients that are gone through where the first ones due are all of some who have no room. */
const WALK_OVER = 1000;

/** How much may be taken, and what its taker has under way. */
export interface DeliveryRoom {
  limit: number;
  perRecipient: number;
  perOwner: number;
  busy: readonly Pick<DueDelivery, 'id' | 'ownerId' | 'recipient'>[];
  /** Where the last walk over the recipients has ended. The next one goes on from there, so that it comes by all in time. */
  walk: { from: string };
}

/**
 * Takes deliveries that are due; whoever else looks passes them by until `leaseMs` is over. One recipient has no more than
 * `perRecipient` and one owner no more than `perOwner` under way, so that who is slow holds up nobody else.
 */
export async function takeDueDeliveries(
  sql: Sql,
  kind: DeliveryKind,
  room: DeliveryRoom,
  leaseMs: number,
): Promise<DueDelivery[]> {
  const taken = await takeOf(sql, EARLIEST(kind), room, leaseMs);
  const busy = [...room.busy, ...taken];
  const limit = room.limit - taken.length;
  if (limit <= 0 || !hasFull(busy, room)) return taken;
  // What is due of others may stand behind all that was looked through.
  const found = await walkOver(sql, kind, room);
  if (found.length === 0) return taken;
  const these = Prisma.sql`
    SELECT id, owner_id, recipient, look_again_at FROM deliveries WHERE id = ANY(${found}::uuid[]) AND ${DUE}`;
  return [...taken, ...(await takeOf(sql, these, { ...room, limit, busy }, leaseMs))];
}

const DUE = Prisma.sql`status = 'waiting' AND look_again_at <= statement_timestamp()`;

const EARLIEST = (kind: DeliveryKind) => Prisma.sql`
  SELECT id, owner_id, recipient, look_again_at FROM deliveries WHERE ${DUE} AND kind = ${kind}
  ORDER BY look_again_at LIMIT ${LOOK_THROUGH}`;

/** The first ones due of each recipient: one probe of an index for each, however much waits. None where EARLIEST saw it all. */
async function walkOver(
  sql: Sql,
  kind: DeliveryKind,
  { perRecipient, walk }: DeliveryRoom,
): Promise<string[]> {
  const next = (after: Prisma.Sql) => Prisma.sql`
    SELECT recipient FROM deliveries WHERE status = 'waiting' AND kind = ${kind} AND recipient > ${after}
    ORDER BY recipient LIMIT 1`;
  const [row] = await sql.$queryRaw<{ ids: string[]; last: string | null; steps: number }[]>`
    WITH RECURSIVE walk AS (
      SELECT f.recipient, 1 AS nth FROM (${next(Prisma.sql`${walk.from}`)}) f
      WHERE (SELECT count(*) FROM (${EARLIEST(kind)}) e) = ${LOOK_THROUGH}
      UNION ALL
      SELECT n.recipient, w.nth + 1 FROM walk w, LATERAL (${next(Prisma.sql`w.recipient`)}) n WHERE w.nth < ${WALK_OVER}
    )
    SELECT COALESCE(array_agg(d.id::text) FILTER (WHERE d.id IS NOT NULL), '{}') AS ids, max(w.recipient) AS last,
      COALESCE(max(w.nth), 0)::int AS steps
    FROM walk w LEFT JOIN LATERAL (
      SELECT id FROM deliveries
      WHERE ${DUE} AND kind = ${kind} AND recipient = w.recipient ORDER BY look_again_at LIMIT ${perRecipient}
    ) d ON true`;
  walk.from = row?.steps === WALK_OVER ? (row.last ?? '') : '';
  return row?.ids ?? [];
}

function takeOf(
  sql: Sql,
  source: Prisma.Sql,
  { limit, perRecipient, perOwner, busy }: DeliveryRoom,
  leaseMs: number,
): Promise<DueDelivery[]> {
  return sql.$queryRaw<DueDelivery[]>`
    WITH busy AS MATERIALIZED (
      SELECT * FROM unnest(${busy.map(({ id }) => id)}::uuid[], ${busy.map(({ ownerId }) => ownerId)}::text[],
        ${busy.map(({ recipient }) => recipient)}::text[]) AS b(id, owner_id, recipient)
    ), found AS MATERIALIZED (
      -- Its own, whose lease has lapsed, is not begun a second time by who has it under way.
      SELECT * FROM (${source}) s WHERE s.id NOT IN (SELECT id FROM busy)
    ), of_recipient AS (
      SELECT *, row_number() OVER (PARTITION BY recipient ORDER BY look_again_at, id)
        + (SELECT count(*) FROM busy b WHERE b.recipient = f.recipient) AS nth FROM found f
    ), of_owner AS (
      SELECT *, row_number() OVER (PARTITION BY owner_id ORDER BY look_again_at, id)
        + (SELECT count(*) FROM busy b WHERE b.owner_id = r.owner_id) AS nth_of_owner
      FROM of_recipient r WHERE nth <= ${perRecipient}
    ), due AS MATERIALIZED (
      SELECT d.id FROM deliveries d
      WHERE d.id = ANY(ARRAY(SELECT id FROM of_owner WHERE nth_of_owner <= ${perOwner})) AND ${DUE}
      ORDER BY d.look_again_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    UPDATE deliveries d SET fence = d.fence + 1, attempts = d.attempts + 1, trying = true,
      tried_at = clock_timestamp(), look_again_at = clock_timestamp() + make_interval(secs => ${leaseMs / 1000}::float8)
    FROM due WHERE d.id = due.id
    RETURNING d.id::text AS id, d.fence, d.kind, d.owner_id AS "ownerId", d.job_id::text AS "jobId", d.recipient, d.event, d.data,
      d.attempts, d.created_at AS "createdAt"`;
}

/** Whether a recipient or an owner has all that one may have. */
function hasFull(
  busy: DeliveryRoom['busy'],
  { perRecipient, perOwner }: Pick<DeliveryRoom, 'perRecipient' | 'perOwner'>,
): boolean {
  const counts = new Map<string, number>();
  const full = (key: string, most: number) => {
    counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts.get(key)! >= most;
  };
  return busy.some(
    ({ ownerId, recipient }) => full(`to ${recipient}`, perRecipient) || full(`of ${ownerId}`, perOwner),
  );
}
