import type { PrismaClient } from '@app/platform/prisma/database.js';
import { counted, countOf, dispatchOf, isEnded, type Model, progressSum } from './model.js';

/** All that the tests look at, of the model or of a database that holds one sequence. */
export interface View {
  jobs: JobView[];
  tasks: TaskView[];
  /** Lines, each sorted: what stands in the other tables. */
  dispatch: string[];
  events: string[];
  receipts: string[];
  stops: string[];
  calls: string[];
  keys: string[];
  commits: string[];
  effects: string[];
}

export interface JobView {
  id: string;
  status: string;
  outcome: string | null;
  generation: number;
  version: number;
  planning: boolean;
  counts: [total: number, completed: number, failed: number, canceled: number];
  progressSum: number;
  progress: number;
  detail: unknown;
  error: string | null;
  result: unknown;
  started: boolean;
  ended: boolean;
}

export interface TaskView {
  id: string;
  job: string;
  kind: string;
  position: number;
  key: string | null;
  status: string;
  generation: number;
  fence: number;
  attempt: number;
  crashes: number;
  suspect: boolean;
  progress: number;
  nonce: string | null;
  lease: string;
  result: unknown;
  error: string | null;
  checkpoint: unknown;
}

/** What the rows should be. */
export function expectedView(model: Model): View {
  const jobs = [...model.jobs.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const lines = (of: (job: (typeof jobs)[number]) => string[]) =>
    jobs.flatMap((job) => of(job).map((line) => `${job.id} ${line}`)).toSorted();
  return {
    jobs: jobs.map((job) => ({
      id: job.id,
      status: job.status,
      outcome: isEnded(job) ? job.status : null,
      generation: job.generation,
      version: job.version,
      planning: job.planning,
      counts: [
        counted(job).length,
        countOf(job, 'completed'),
        countOf(job, 'failed'),
        countOf(job, 'canceled'),
      ],
      progressSum: progressSum(job),
      progress: job.progress,
      detail: job.detail,
      error: job.error,
      result: job.result,
      started: job.started,
      ended: isEnded(job),
    })),
    tasks: jobs
      .flatMap(({ id: job, tasks }) =>
        tasks.map(({ epoch: _epoch, gate: _gate, ...task }) => ({ ...task, job })),
      )
      .toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    dispatch: lines(dispatchOf),
    events: lines((job) => job.events),
    receipts: lines((job) => job.receipts.map(String)),
    stops: lines((job) => job.stops),
    calls: lines((job) =>
      job.calls.map((call) => `${call.generation} ${call.key} ${call.attempts} ${call.lastError ?? ''}`),
    ),
    keys: [...model.keys]
      .map(([key, { hash, jobId, expired }]) => `${key} ${hash} ${jobId} ${expired ? 'expired' : 'kept'}`)
      .toSorted(),
    commits: [...model.commits].map(([name, gave]) => `${name} ${gave}`).toSorted(),
    effects: model.effects.toSorted(),
  };
}

const ERROR = (of: string) =>
  `${of}->>'code' || CASE WHEN ${of}->>'message' ~ '^e[0-9]+$' THEN ' ' || (${of}->>'message') ELSE '' END`;
const list = (query: string) => `(SELECT COALESCE(json_agg(x), '[]') FROM (${query}) q(x))`;

const ROWS = `SELECT json_build_object(
  'jobs', ${list(`SELECT json_build_object('id', id, 'status', status, 'outcome', outcome, 'generation', generation,
    'version', version, 'planning', planning, 'counts', json_build_array(tasks_total, tasks_completed, tasks_failed, tasks_canceled),
    'progressSum', progress_sum, 'progress', progress, 'detail', detail, 'error', ${ERROR('error')}, 'result', result,
    'started', started_at IS NOT NULL, 'ended', finished_at IS NOT NULL) FROM jobs ORDER BY id`)},
  'tasks', ${list(`SELECT json_build_object('id', t.id, 'job', t.job_id, 'kind', t.kind, 'position', t.position, 'key', i.key,
    'status', t.status, 'generation', t.generation, 'fence', t.fence, 'attempt', t.attempt, 'crashes', t.crashes, 'suspect', t.suspect,
    'progress', t.progress, 'nonce', t.nonce, 'lease', CASE WHEN t.lease_until IS NULL THEN 'none'
      WHEN t.lease_until < clock_timestamp() THEN 'ended' ELSE 'runs' END,
    'result', o.result, 'error', ${ERROR('o.error')}, 'checkpoint', o.checkpoint)
    FROM tasks t LEFT JOIN task_outputs o ON o.task_id = t.id
      LEFT JOIN task_inputs i ON i.job_id = t.job_id AND i.position = t.position ORDER BY t.id`)},
  'dispatch', ${list(`SELECT concat_ws(' ', job_id, kind, id, epoch, gate) FROM dispatch`)},
  'events', ${list(`SELECT job_id || ' ' || generation || '/' || version || ' ' || kind || COALESCE(' ' || CASE
      WHEN data ? 'count' THEN data->>'count'
      ELSE (SELECT string_agg(COALESCE((t->>'id') || ':' || (t->>'fence'), t#>>'{}'), ',' ORDER BY COALESCE(t->>'id', t#>>'{}'))
        FROM jsonb_array_elements(data->'tasks') t) END, '') FROM job_events ORDER BY seq`)},
  'receipts', ${list(`SELECT concat_ws(' ', job_id, generation) FROM cancellations`)},
  'stops', ${list(`SELECT concat_ws(' ', job_id, generation, task_id,
    CASE WHEN stopped_at IS NULL AND fenced_at IS NULL THEN 'open' ELSE 'over' END) FROM cancel_stops`)},
  'calls', ${list(`SELECT concat(job_id, ' ', generation, ' ', idempotency_key, ' ', attempts, ' ', last_error) FROM catalog_calls`)},
  'keys', ${list(`SELECT concat_ws(' ', key, body_hash, job_id,
    CASE WHEN created_at < now() - interval '24 hours' THEN 'expired' ELSE 'kept' END) FROM idempotency_keys`)},
  'commits', ${list(`SELECT concat_ws(' ', task_id, generation, key, result#>>'{}') FROM task_commits`)},
  'effects', ${list(`SELECT concat_ws(' ', task_id, generation, key, gave) FROM model_effects`)},
  'inputs', (SELECT count(*) FROM task_inputs), 'outputs', (SELECT count(*) FROM task_outputs o
    WHERE NOT EXISTS (SELECT FROM tasks t WHERE t.id = o.task_id)))`;

/** Makes the table of the effects of tasks, and the look at all tables, of which Postgres keeps the plan. */
export async function prepareView(client: Pick<PrismaClient, '$executeRawUnsafe'>): Promise<void> {
  await client.$executeRawUnsafe(
    'CREATE TABLE IF NOT EXISTS model_effects (task_id uuid, generation int, key text, gave text)',
  );
  await client.$executeRawUnsafe(
    `CREATE OR REPLACE FUNCTION model_view() RETURNS json LANGUAGE plpgsql AS $f$ BEGIN RETURN (${ROWS}); END $f$`,
  );
}

/** What the rows are. The ledger comes in the order in which it was written. */
export async function actualView(
  client: Pick<PrismaClient, '$queryRawUnsafe'>,
): Promise<View & { ledger: string[] }> {
  const [row] = await client.$queryRawUnsafe<{ view: View & { inputs: number; outputs: number } }[]>(
    'SELECT model_view() AS view',
  );
  const { inputs, outputs, ...view } = row!.view;
  if (inputs !== view.tasks.length || outputs !== 0)
    throw new Error(`${inputs} inputs of ${view.tasks.length} tasks, ${outputs} outputs of no task`);
  const ledger = view.events;
  for (const name of [
    'dispatch',
    'events',
    'receipts',
    'stops',
    'calls',
    'keys',
    'commits',
    'effects',
  ] as const)
    view[name] = view[name].toSorted();
  return { ...view, ledger };
}

/** Ids as their last digits, so that a difference can be read. */
export const shortIds = (text: string) => text.replaceAll(/00000000-0000-7000-8000-0{0,11}/g, '#');

/** What one view has and the other has not; empty when they are the same. */
export function differences(expected: View, actual: View): string[] {
  const [wanted, found] = [new Set(linesOf(expected)), new Set(linesOf(actual))];
  const missing = [...wanted].filter((line) => !found.has(line)).map((line) => `- ${line}`);
  const strange = [...found].filter((line) => !wanted.has(line)).map((line) => `+ ${line}`);
  return [...missing, ...strange].map(shortIds);
}

const fields = (name: string, row: JobView | TaskView) =>
  Object.entries(row).map(([field, value]) => `${name} ${row.id} ${field} ${JSON.stringify(value ?? null)}`);

function linesOf(view: View): string[] {
  const { jobs, tasks, dispatch, events, receipts, stops, calls, keys, commits, effects } = view;
  const rest = { dispatch, events, receipts, stops, calls, keys, commits, effects };
  const lines = Object.entries(rest).flatMap(([name, all]) =>
    all.map((line, at) => `${name} ${line}${all[at - 1] === line ? ' (again)' : ''}`),
  );
  return [
    ...jobs.flatMap((row) => fields('job', row)),
    ...tasks.flatMap((row) => fields('task', row)),
    ...lines,
  ];
}
