import type { Client } from 'pg';
import { onDatabase } from '../../scripts/db/database.js';
import type { LoggedRequest } from '../../apps/catalog-sim/src/request-log.js';
import { type HistoryLine, readLines } from './harness/history.js';
import type { EffectLine } from './job-types/effects.js';

/** A task as an event of the ledger names it. */
export interface EventTask {
  id: string;
  fence: number;
  attempt: number;
}

export interface JobRow {
  id: string;
  status: string;
  generation: number;
  version: number;
  progress: number;
  planning: boolean;
  marker: string | null;
  /** Whether a schedule has made it, and no submit. */
  scheduled?: boolean;
  total: number;
  completed: number;
  failed: number;
  canceled: number;
  outcome: string | null;
  ended: boolean;
}

export interface TaskRow {
  id: string;
  jobId: string;
  kind: string;
  status: string;
  fence: number;
  attempt: number;
  crashes: number;
  /** The execution whose result was accepted. */
  execution: string | null;
}

export interface EventRow {
  jobId: string;
  seq: number;
  generation: number;
  version: number;
  kind: string;
  actor: string;
  tasks: EventTask[];
}

/** All that the checker looks at. Nothing in it comes from the code that is under test but its rows and answers. */
export interface Evidence {
  history: HistoryLine[];
  effects: EffectLine[];
  catalog: LoggedRequest[];
  jobs: JobRow[];
  tasks: TaskRow[];
  events: EventRow[];
  dispatch: { id: string; kind: string; jobId: string }[];
  workers: { id: string; pid: number }[];
}

/** Reads the files of a run and the rows of its database. */
export async function readEvidence(
  files: { history: string; effects: string; catalog: string },
  databaseUrl: string,
): Promise<Evidence> {
  const rows = await onDatabase(databaseUrl, readRows);
  return {
    history: readLines<HistoryLine>(files.history),
    effects: readLines<EffectLine>(files.effects),
    catalog: readLines<LoggedRequest>(files.catalog),
    ...rows,
  };
}

async function readRows(client: Client) {
  const read = async <T extends object>(sql: string) => (await client.query<T>(sql)).rows;
  return {
    jobs: await read<JobRow>(`
      SELECT id::text, status, generation, version, progress::int, planning, payload->>'marker' AS marker,
        schedule_id IS NOT NULL AS scheduled,
        tasks_total AS total, tasks_completed AS completed, tasks_failed AS failed, tasks_canceled AS canceled,
        outcome, finished_at IS NOT NULL AS ended
      FROM jobs`),
    tasks: await read<TaskRow>(`
      SELECT t.id::text, t.job_id::text AS "jobId", t.kind, t.status, t.fence, t.attempt::int, t.crashes::int,
        o.result->>'execution' AS execution
      FROM tasks t LEFT JOIN task_outputs o ON o.task_id = t.id`),
    events: await read<EventRow>(`
      SELECT job_id::text AS "jobId", seq::float8 AS seq, generation, version, kind, actor,
        CASE WHEN jsonb_typeof(data->'tasks'->0) = 'object' THEN data->'tasks' ELSE '[]'::jsonb END AS tasks
      FROM job_events ORDER BY job_id, seq`),
    dispatch: await read<{ id: string; kind: string; jobId: string }>(`
      SELECT id::text, kind, job_id::text AS "jobId" FROM dispatch`),
    workers: await read<{ id: string; pid: number }>('SELECT id::text, pid FROM workers'),
  };
}

/** Groups things by a key. */
export function groupBy<T>(things: Iterable<T>, keyOf: (thing: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const thing of things) {
    const key = keyOf(thing);
    const group = groups.get(key);
    if (group) group.push(thing);
    else groups.set(key, [thing]);
  }
  return groups;
}
