import type { JobEventKind, Json } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';

/** One event of a job. Those of tasks stand in the ledger by batches, and are told one by one. */
export interface LedgerEvent {
  /** `<version>.<index>`: where it stands in its job. */
  id: string;
  generation: number;
  /** The version of the job that it has made. */
  version: number;
  kind: string;
  at: Date;
  actor: string;
  reason: string | null;
  /** Of an event of a task. */
  taskId?: string;
  attempt?: number;
  worker?: string;
  /** How many tasks a plan has added. */
  count?: number;
  /** Where the ledger goes on after it. */
  cursor: EventCursor;
}

/** A place in a ledger: behind a task of a row, of which `index` more of the same version were told before. */
export interface EventCursor {
  seq: bigint;
  nth: number;
  version: number;
  index: number;
}

interface Row {
  seq: bigint;
  nth: number;
  generation: number;
  version: number;
  kind: JobEventKind;
  at: Date;
  actor: string;
  reason: string | null;
  task: string | { id: string; attempt?: number; worker?: string } | null;
  data: { [key: string]: Json } | null;
}

/**
 * The ledger of a job, oldest first. A row gets its `seq` under the lock of the job, as it gets its version, so that
 * within one job the two have one order. Undefined when the owner has no such job.
 */
export async function readLedger(
  sql: Pick<Sql, '$queryRaw'>,
  ownerId: string,
  jobId: string,
  limit: number,
  after: EventCursor = { seq: 0n, nth: 0, version: 0, index: -1 },
): Promise<LedgerEvent[] | undefined> {
  const [owned, rows] = await Promise.all([
    sql.$queryRaw<unknown[]>`SELECT 1 FROM jobs WHERE id = ${jobId}::uuid AND owner_id = ${ownerId}`,
    sql.$queryRaw<Row[]>`
      SELECT e.seq, COALESCE(t.nth, 0)::int AS nth, e.generation, e.version, e.kind, e.at, e.actor, e.reason, t.task,
        CASE WHEN t.task IS NULL THEN e.data END AS data
      FROM jobs j JOIN job_events e ON e.job_id = j.id
        LEFT JOIN LATERAL jsonb_array_elements(e.data->'tasks') WITH ORDINALITY AS t(task, nth) ON true
      WHERE j.id = ${jobId}::uuid AND j.owner_id = ${ownerId} AND e.seq >= ${after.seq}
        AND (e.seq, COALESCE(t.nth, 0)) > (${after.seq}, ${after.nth})
      ORDER BY e.seq, nth LIMIT ${limit}`,
  ]);
  return owned.length === 0 ? undefined : numbered(rows, after);
}

function numbered(rows: Row[], after: EventCursor): LedgerEvent[] {
  let { version, index } = after;
  return rows.map((row) => {
    index = row.version === version ? index + 1 : 0;
    version = row.version;
    return toEvent(row, { seq: row.seq, nth: row.nth, version, index });
  });
}

function toEvent({ task, data, seq: _seq, nth: _nth, kind, ...row }: Row, cursor: EventCursor): LedgerEvent {
  const { id, attempt, worker } = typeof task === 'string' ? { id: task } : { id: undefined, ...task };
  const count = data?.['count'];
  return {
    id: `${cursor.version}.${cursor.index}`,
    ...row,
    kind: task === null ? kind : kind.replace('tasks.', 'task.'),
    ...(id === undefined ? {} : { taskId: id }),
    ...(attempt === undefined ? {} : { attempt }),
    ...(worker === undefined ? {} : { worker }),
    ...(typeof count === 'number' ? { count } : {}),
    cursor,
  };
}
