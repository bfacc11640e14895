import type { RunningTaskSummary, Worker } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';
import { EVERY_OWNER, type Owner } from './owner.js';

/** What a worker process says of itself when it starts. */
export interface WorkerRecord extends Pick<Worker, 'host' | 'tags' | 'queues' | 'slots'> {
  id: string;
  pid: number;
  /** The version of each job type that its code has. */
  types: Record<string, number>;
}

/** Makes a worker process known. */
export async function registerWorker(sql: Sql, worker: WorkerRecord): Promise<void> {
  await sql.$executeRaw`
    INSERT INTO workers (id, host, pid, queues, tags, slots, types)
    VALUES (${worker.id}::uuid, ${worker.host}, ${worker.pid}, ${worker.queues}::text[], ${worker.tags}::text[],
      ${worker.slots}, ${JSON.stringify(worker.types)}::jsonb)
    ON CONFLICT (id) DO NOTHING`;
}

/** Notes that a worker process has stopped of its own will. */
export async function retireWorker(sql: Sql, id: string): Promise<void> {
  await sql.$executeRaw`UPDATE workers SET stopped_at = clock_timestamp() WHERE id = ${id}::uuid`;
}

interface Row extends Omit<Worker, 'types' | 'running'> {
  types: Record<string, number>;
  running: (Omit<RunningTaskSummary, 'startedAt'> & { startedAt: string })[];
}

/**
 * The workers that have given a sign within `freshMs` and have not stopped, in the order of their starts. Shows the
 * running tasks of one owner, or those of all. What a worker wrote with its heartbeat may have ended
 * since: only what it still holds is told.
 */
export async function findLiveWorkers(sql: Sql, owner: Owner, freshMs: number): Promise<Worker[]> {
  const all = owner === EVERY_OWNER;
  const rows = await sql.$queryRaw<Row[]>`
    SELECT w.id::text AS "workerId", w.host, w.tags, w.queues, w.slots, w.types,
      w.started_at AS "startedAt", w.seen_at AS "seenAt", r.count AS "runningCount", r.tasks AS running
    FROM workers w CROSS JOIN LATERAL (
      SELECT count(*)::int AS count, COALESCE(jsonb_agg(jsonb_build_object('jobId', j.id, 'type', j.type,
          'taskId', CASE WHEN t.kind = 'task' THEN t.id END, 'startedAt', t.started_at) ORDER BY t.started_at, t.id)
        FILTER (WHERE ${all} OR j.owner_id = ${all ? '' : owner}), '[]'::jsonb) AS tasks
      FROM unnest(w.running) AS m(id) JOIN tasks t ON t.id = m.id JOIN jobs j ON j.id = t.job_id
      WHERE t.status = 'active' AND t.worker = w.id
    ) r
    WHERE w.stopped_at IS NULL
      AND w.seen_at > statement_timestamp() - make_interval(secs => ${freshMs / 1000}::float8)
    ORDER BY w.started_at, w.id`;
  return rows.map(toWorker);
}

function toWorker({ types, running, ...worker }: Row): Worker {
  return {
    ...worker,
    types: Object.entries(types)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, version]) => ({ name, version })),
    running: running.map((task) => ({ ...task, startedAt: new Date(task.startedAt) })),
  };
}
