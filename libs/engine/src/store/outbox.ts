import type { JobFailure, JobNotice, LateNotice, Notify } from '@app/core';
import { Prisma, type PrismaClient, type Sql } from '@app/platform/prisma/database.js';
import { inTransaction } from './in-transaction.js';
import { newId } from './new-id.js';

/**
 * Part of every statement that ends jobs: notes the ends that somebody is to be told of, with what is told. Most jobs have
 * nobody, and get no row. A cancel is mailed to nobody: `notify` never names it.
 * @param ended a part of the statement that has of each job that it has just ended: `id`, `generation`, `status`, `error`,
 * `finished_at`, and `owner_id`, `type`, `labels` and `notify` as they are
 */
export const openNotices = (ended: Prisma.Sql) => Prisma.sql`
  INSERT INTO outbox (job_id, generation, owner_id, type, status, error, labels, notify, ended_at)
  SELECT e.id, e.generation, e.owner_id, e.type, e.status, CASE WHEN e.status = 'failed' THEN e.error END, e.labels,
    CASE WHEN e.notify->'on' ? e.status THEN e.notify END, e.finished_at
  FROM (SELECT * FROM ${ended}) e
  WHERE e.notify->'on' ? e.status OR EXISTS (
    SELECT FROM webhooks w WHERE w.owner_id = e.owner_id AND w.disabled_at IS NULL
      AND 'job.' || e.status = ANY(w.events) AND (w.types = '{}' OR e.type = ANY(w.types)))`;

/**
 * Part of the statement that notes late beginnings: notes those that a webhook of their owner is to be told of. Nobody is
 * mailed of them.
 * @param noted a part of the statement that has `job_id`, `schedule_id`, `slot` and whether it was `late`
 */
export const lateNotices = (noted: Prisma.Sql) => Prisma.sql`
  INSERT INTO outbox (job_id, generation, owner_id, type, status, late, slot, labels)
  SELECT j.id, j.generation, j.owner_id, j.type, 'late', true,
    jsonb_build_object('scheduleId', n.schedule_id, 'slot', n.slot), j.labels
  FROM ${noted} n JOIN jobs j ON j.id = n.job_id
  WHERE n.late AND EXISTS (
    SELECT FROM webhooks w WHERE w.owner_id = j.owner_id AND w.disabled_at IS NULL
      AND 'job.late' = ANY(w.events) AND (w.types = '{}' OR j.type = ANY(w.types)))
  ON CONFLICT DO NOTHING`;

/** The event of a mail that tells of several ends. */
export const DIGEST = 'digest';

/** How mails are held down: so many for an owner and an address within a time, the others in a digest at its end. */
export interface MailLimit {
  rate: number;
  windowMs: number;
}

interface End {
  jobId: string;
  generation: number;
  ownerId: string;
  type: string;
  status: JobNotice['status'] | 'late';
  late: boolean;
  slot: { scheduleId: string; slot: string } | null;
  error: JobFailure | null;
  labels: Record<string, string> | null;
  notify: Notify | null;
  endedAt: Date;
}

interface Hook {
  id: string;
  ownerId: string;
  events: string[];
  types: string[];
  createdAt: Date;
}

/** A delivery to be written. */
interface NewDelivery {
  id: string;
  kind: 'mail' | 'webhook';
  owner_id: string;
  job_id: string;
  generation: number;
  recipient: string;
  event: string;
  data: JobNotice | LateNotice;
  digest_id?: string;
}

/**
 * Makes of some ends of jobs a delivery for each recipient, all in one transaction with the end of their notes: each
 * recipient has one, whoever dies when. Any number of processes do this side by side. Answers how many ends it took.
 */
export async function expandOutbox(client: PrismaClient, limit: number, mails: MailLimit): Promise<number> {
  return inTransaction(client, async (sql) => {
    const ends = await sql.$queryRaw<End[]>`
      SELECT job_id::text AS "jobId", generation, owner_id AS "ownerId", type, status, late, slot, error, labels, notify,
        ended_at AS "endedAt"
      FROM outbox ORDER BY ended_at LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    if (ends.length === 0) return 0;
    const owners = [...new Set(ends.map((end) => end.ownerId))];
    const hooks = await sql.$queryRaw<Hook[]>`
      SELECT id::text AS id, owner_id AS "ownerId", events, types, created_at AS "createdAt" FROM webhooks
      WHERE owner_id = ANY(${owners}::text[]) AND disabled_at IS NULL ORDER BY id`;
    const made = ends.flatMap((end) => [...mailsOf(end), ...callsOf(end, hooks)]);
    await collect(sql, made, mails);
    await sql.$executeRaw`
      INSERT INTO deliveries (id, kind, owner_id, job_id, generation, recipient, event, data, digest_id, status, look_again_at, ended_at)
      SELECT id, kind, owner_id, job_id, generation, recipient, event, data, digest_id,
        CASE WHEN digest_id IS NULL THEN 'waiting' ELSE 'collected' END,
        CASE WHEN digest_id IS NULL THEN clock_timestamp() END, CASE WHEN digest_id IS NOT NULL THEN clock_timestamp() END
      FROM jsonb_to_recordset(${JSON.stringify(made)}::jsonb) AS d(id uuid, kind text, owner_id text, job_id uuid,
        generation int, recipient text, event text, data jsonb, digest_id uuid)
      ON CONFLICT DO NOTHING`;
    await sql.$executeRaw`
      DELETE FROM outbox o USING unnest(${ends.map((end) => end.jobId)}::uuid[], ${ends.map((end) => end.generation)}::int[],
        ${ends.map((end) => end.late)}::boolean[]) AS e(job_id, generation, late)
      WHERE o.job_id = e.job_id AND o.generation = e.generation AND o.late = e.late`;
    return ends.length;
  });
}

function mailsOf(end: End): NewDelivery[] {
  return [...new Set(end.notify?.email)].map((address) => deliveryOf(end, 'mail', address));
}

/** Only of webhooks that were there when the job ended. */
function callsOf(end: End, hooks: Hook[]): NewDelivery[] {
  return hooks
    .filter(
      ({ ownerId, events, types, createdAt }) =>
        ownerId === end.ownerId &&
        events.includes(`job.${end.status}`) &&
        (types.length === 0 || types.includes(end.type)) &&
        createdAt <= end.endedAt,
    )
    .map(({ id }) => deliveryOf(end, 'webhook', id));
}

function deliveryOf(end: End, kind: NewDelivery['kind'], recipient: string): NewDelivery {
  const { jobId, generation, ownerId, status } = end;
  const of = { owner_id: ownerId, job_id: jobId, generation };
  return { id: newId(), kind, ...of, recipient, event: `job.${status}`, data: noticeOf(end) };
}

function noticeOf({ jobId, generation, type, status, slot, endedAt, ...end }: End): JobNotice | LateNotice {
  const labels = end.labels ?? {};
  if (status === 'late') {
    const { scheduleId = '', slot: at = endedAt } = slot ?? {};
    return { jobId, type, generation, labels, scheduleId, slot: new Date(at).toISOString() };
  }
  const error = end.error && { code: end.error.code, message: end.error.message };
  return { jobId, type, status, generation, error, labels, finishedAt: endedAt.toISOString() };
}

/**
 * Marks the mails that are beyond the rate of their owner and address, and sees to it that a digest comes at the end of
 * the window. Windows are locked in one order, before anything that is inserted.
 */
async function collect(sql: Sql, made: NewDelivery[], { rate, windowMs }: MailLimit): Promise<void> {
  const groups = new Map<string, NewDelivery[]>();
  for (const mail of made.filter(({ kind }) => kind === 'mail')) {
    const key = JSON.stringify([mail.owner_id, mail.recipient]);
    groups.set(key, [...(groups.get(key) ?? []), mail]);
  }
  if (groups.size === 0) return;
  const sorted = [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, mails]) => mails);
  const rows = sorted.map((mails) => ({
    owner_id: mails[0]?.owner_id,
    recipient: mails[0]?.recipient,
    count: mails.length,
    digest_id: newId(),
  }));
  const over = Prisma.sql`w.began_at + make_interval(secs => ${windowMs / 1000}::float8) <= clock_timestamp()`;
  const windows = await sql.$queryRaw<
    { ownerId: string; recipient: string; count: number; digestId: string; beganAt: Date }[]
  >`
    INSERT INTO mail_windows AS w (owner_id, recipient, began_at, count, digest_id)
    SELECT owner_id, recipient, clock_timestamp(), count, digest_id
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS i(owner_id text, recipient text, count int, digest_id uuid)
    ON CONFLICT (owner_id, recipient) DO UPDATE SET
      count = CASE WHEN ${over} THEN EXCLUDED.count ELSE w.count + EXCLUDED.count END,
      digest_id = CASE WHEN ${over} THEN EXCLUDED.digest_id ELSE w.digest_id END,
      began_at = CASE WHEN ${over} THEN EXCLUDED.began_at ELSE w.began_at END
    RETURNING owner_id AS "ownerId", recipient, count, digest_id::text AS "digestId", began_at AS "beganAt"`;
  const full = windows.filter(({ count }) => count > rate);
  for (const { ownerId, recipient, count, digestId } of full) {
    const mails = groups.get(JSON.stringify([ownerId, recipient])) ?? [];
    const alone = Math.max(0, rate - (count - mails.length));
    for (const mail of mails.slice(alone)) mail.digest_id = digestId;
  }
  const digests = full.map(({ ownerId, recipient, digestId, beganAt }) => ({
    id: digestId,
    owner_id: ownerId,
    recipient,
    due: new Date(beganAt.getTime() + windowMs),
    data: { from: beganAt },
  }));
  await sql.$executeRaw`
    INSERT INTO deliveries (id, kind, owner_id, recipient, event, data, look_again_at)
    SELECT id, 'mail', owner_id, recipient, ${DIGEST}, data, due
    FROM jsonb_to_recordset(${JSON.stringify(digests)}::jsonb) AS d(id uuid, owner_id text, recipient text, data jsonb, due timestamptz)
    ON CONFLICT DO NOTHING`;
}

/** Jobs that a digest lists; the others are counted. */
const MOST_LISTED = 50;

/**
 * What a digest tells of. Ends its window first, so that no mail joins it while it is read or after; it is then the same
 * at each try.
 */
export async function readDigest(
  client: PrismaClient,
  { id: digestId, ownerId, recipient }: { id: string; ownerId: string; recipient: string },
): Promise<{ count: number; failed: number; notices: JobNotice[] }> {
  return inTransaction(client, async (sql) => {
    await sql.$executeRaw`
      DELETE FROM mail_windows
      WHERE owner_id = ${ownerId} AND recipient = ${recipient} AND digest_id = ${digestId}::uuid`;
    const rows = await sql.$queryRaw<{ data: JobNotice; count: number; failed: number }[]>`
      SELECT data, (count(*) OVER ())::int AS count, (count(*) FILTER (WHERE data->>'status' = 'failed') OVER ())::int AS failed
      FROM deliveries WHERE digest_id = ${digestId}::uuid
      ORDER BY created_at, id LIMIT ${MOST_LISTED}`;
    const { count = 0, failed = 0 } = rows[0] ?? {};
    return { count, failed, notices: rows.map((row) => row.data) };
  });
}
