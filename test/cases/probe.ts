import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import {
  type JobHandler,
  JobType,
  type JobView,
  PermanentError,
  type TaskContext,
  type TaskView,
} from '@app/core';
import { onDatabase } from '../../scripts/db/database.js';

/** One execution of a task, as its handler saw it and without asking anybody. */
export interface Run {
  jobId: string;
  position: number;
  attempt: number;
  startedAt: number;
  abortedAt?: number;
  endedAt?: number;
}

/** Every execution in this process, by whichever engine. */
export const runs: Run[] = [];
export const runsOf = (jobId: string) => runs.filter((run) => run.jobId === jobId);

/** Where handlers wait for one another: all that have come go on in one turn of the event loop when it opens. */
class Gate {
  open = () => {};
  readonly passed = new Promise<void>((resolve) => (this.open = resolve));
}
const gates = new Map<string, Gate>();

/** The gate of a name; once open it stays so. */
export function gate(name: string): Gate {
  const known = gates.get(name) ?? new Gate();
  gates.set(name, known);
  return known;
}

/** Lets those through who wait at a gate by now; who comes later waits for the next time. */
export function letThrough(name: string): void {
  gate(name).open();
  gates.delete(name);
}

export const Knobs = z
  .object({
    forMs: z.int().default(0).describe('how long a task works'),
    gate: z.string().optional().describe('where it waits before its end'),
    ignores: z.boolean().default(false).describe('whether it goes on although told to stop'),
    failFirst: z.int().default(0).describe('the first attempts that fail'),
    permanent: z.boolean().default(false).describe('whether it fails for good'),
    percents: z.array(z.int()).default([]).describe('what it reports at its beginning'),
    detail: z.string().optional().describe('what it says with each of them'),
    quickFrom: z.int().optional().describe('the first attempt that does not work so long'),
    poison: z.string().optional().describe('what a database of a test may refuse'),
  })
  .prefault({});
type Knobs = z.infer<typeof Knobs>;

/** Works as it is told to, and tells of it in `runs`. Returns the number of its attempt. */
@JobType({ name: 'case.work', payload: Knobs, backoff: { kind: 'fixed', base: '20ms', cap: '20ms' } })
export class Work implements JobHandler<Knobs> {
  async run({ payload, position, attempt }: TaskView<Knobs>, ctx: TaskContext<unknown>): Promise<unknown> {
    const run: Run = { jobId: ctx.job.jobId, position, attempt, startedAt: Date.now() };
    runs.push(run);
    ctx.signal.addEventListener('abort', () => (run.abortedAt = Date.now()));
    try {
      for (const percent of payload.percents) ctx.progress(percent, payload.detail);
      if (attempt < (payload.quickFrom ?? Infinity)) await hold(payload, ctx.signal);
      if (payload.permanent) throw new PermanentError('broken for good');
      if (attempt <= payload.failFirst) throw new Error('broken');
      return { attempt };
    } finally {
      run.endedAt = Date.now();
    }
  }
}

async function hold({ forMs, gate: name, ignores }: Knobs, signal: AbortSignal): Promise<void> {
  if (forMs > 0) await delay(forMs, undefined, ignores ? {} : { signal });
  if (name === undefined) return;
  if (ignores) return gate(name).passed;
  await Promise.race([gate(name).passed, once(signal, 'abort')]);
  signal.throwIfAborted();
}

/** Waits between two attempts for longer than any test lasts. */
@JobType({ name: 'case.patient', payload: Knobs, backoff: { kind: 'fixed', base: '1h', cap: '1h' } })
export class Patient extends Work {}

/** May not take longer than a moment. */
@JobType({
  name: 'case.timed',
  payload: Knobs,
  attempts: 2,
  timeout: '250ms',
  cancelGrace: '300ms',
  backoff: { kind: 'fixed', base: '20ms', cap: '20ms' },
})
export class Timed extends Work {}

const Plan = z.object({ count: z.int(), gate: z.string().optional() });

/** Plans its tasks, and waits at its gate with the last of them, so that the first end before the last are there. */
@JobType({ name: 'case.plan', payload: Plan })
export class Planned extends Work {
  async *plan({ payload }: JobView<z.infer<typeof Plan>>, ctx: Pick<TaskContext, 'checkpoint'>) {
    for (let nth = 0; nth < payload.count; nth++) {
      if (payload.gate !== undefined && nth === payload.count - 1) {
        // With what it has planned so far.
        await ctx.checkpoint(nth);
        await gate(payload.gate).passed;
      }
      yield { key: `part-${nth}`, payload: Knobs.parse({ forMs: 1 }) };
    }
  }
}

export const CASE_TYPES = [Work, Patient, Timed, Planned];

/** Asks the database itself. */
export function sql<R = Record<string, unknown>>(url: string, text: string, ...values: unknown[]) {
  return onDatabase(url, async (client) => (await client.query(text, values)).rows as R[]);
}

/** Lets the time come that a job waits for, be it that of its begin or of its next attempt. */
export async function comeDue(url: string, jobId: string): Promise<void> {
  await sql(url, 'UPDATE jobs SET run_at = now() WHERE id = $1::uuid AND run_at IS NOT NULL', jobId);
  await sql(url, 'UPDATE dispatch SET look_again_at = now() WHERE job_id = $1::uuid', jobId);
}

/** Makes the attempts of a job that are yet to begin others than those that run, such as quick ones. */
export async function changePayload(url: string, jobId: string, more: object): Promise<void> {
  for (const [table, id] of [
    ['jobs', 'id'],
    ['task_inputs', 'job_id'],
  ])
    await sql(
      url,
      `UPDATE ${table} SET payload = payload || $2::jsonb WHERE ${id} = $1::uuid AND jsonb_typeof(payload) = 'object'`,
      jobId,
      JSON.stringify(more),
    );
}

/** The states of a job as its ledger has them, oldest first. */
export async function ledgerOf(url: string, jobId: string): Promise<string[]> {
  const rows = await sql<{ kind: string }>(
    url,
    `SELECT kind FROM job_events WHERE job_id = $1::uuid AND kind LIKE 'job.%' ORDER BY version, seq`,
    jobId,
  );
  return rows.map((row) => row.kind.slice('job.'.length));
}
