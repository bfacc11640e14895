import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Inject } from '@nestjs/common';
import { z } from 'zod';
import { JobType, type JobView, type Json, PermanentError, type TaskContext, type TaskView } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';

// The job types of the tests, for the engine in the test's process and for the processes that it starts.

/** What a task does; each is tried in a process of its own. */
const Payload = z
  .object({
    what: z.string().default('look'),
    ms: z.number().default(0),
    dies: z.number().default(0),
    note: z.json().default(null),
  })
  .prefault({});
type Payload = z.output<typeof Payload>;
type Task = TaskView<Payload>;

/** Holds the thread for good: no signal is heard, and no timer runs. */
function holdThread(): never {
  for (;;);
}

const DEEDS: Record<string, (task: Task, ctx: TaskContext<Payload>) => Promise<unknown>> = {
  look: async ({ checkpoint, attempt }, { job }) => ({
    pid: process.pid,
    parent: process.ppid,
    attempt,
    checkpoint: checkpoint ?? null,
    createdAt: job.createdAt instanceof Date,
  }),
  tell: async ({ payload }, ctx) => {
    ctx.log.info('told', { of: new Error('a cause'), call: () => {} });
    for (let percent = 1; percent <= 50; percent++) ctx.progress(percent, { percent });
    await ctx.checkpoint({ at: 50 });
    // The test has seen it when this file is there.
    while (!existsSync(String(payload.note))) await delay(20, undefined, { signal: ctx.signal });
    return 'told';
  },
  resume: async ({ checkpoint }, ctx) => {
    if (checkpoint !== undefined) return { from: checkpoint };
    ctx.progress(10);
    await ctx.checkpoint('first');
    await ctx.checkpoint('second');
    throw new Error('after the checkpoint');
  },
  commit: async ({ attempt, taskId }, ctx) => {
    const first = await ctx.commit('once', async (tx) => {
      await tx.execute('INSERT INTO effects (task_id, attempt) VALUES ($1, $2)', taskId, attempt);
      return { attempt };
    });
    if (attempt === 1) throw new Error('after the effect');
    return first;
  },
  'commit and fail': (_task, ctx) =>
    ctx.commit('never', async (tx) => {
      await tx.execute('INSERT INTO no_table VALUES (1)');
      return null;
    }),
  throw: async ({ payload }) => {
    throw new Error(String(payload.note));
  },
  'throw for good': async () => {
    throw new PermanentError('not again');
  },
  cycle: async () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    return cycle;
  },
  wait: async ({ payload }, ctx) => {
    await delay(payload.ms, undefined, { signal: ctx.signal });
    return { pid: process.pid };
  },
  hold: async (_task, ctx) => {
    await ctx.checkpoint({ pid: process.pid });
    ctx.log.info('The thread is held from now on.');
    return holdThread();
  },
  'hold a transaction': (_task, ctx) =>
    ctx.commit('held', async (tx) => {
      await tx.execute('INSERT INTO effects (task_id, attempt) VALUES ($1, 0)', ctx.job.jobId);
      await tx.query('SELECT pg_sleep(600)');
      return null;
    }),
  die: async ({ attempt, payload }) => {
    if (attempt <= payload.dies) process.kill(process.pid, 'SIGKILL');
    await delay(attempt <= payload.dies ? 60_000 : 0);
    return { attempt };
  },
  exit: async () => process.exit(3),
};

class Sandboxed {
  constructor(@Inject(CONFIG) private readonly config: Config) {}

  async run(task: Task, ctx: TaskContext<Payload>): Promise<unknown> {
    const result = await DEEDS[task.payload.what]?.(task, ctx);
    return task.payload.what === 'look'
      ? { ...(result as object), sandboxed: this.config.sandboxed }
      : result;
  }
}

const POLICY = { payload: Payload, backoff: { kind: 'fixed', base: '10ms', cap: '10ms' } } as const;

/** Always alone. */
@JobType({ ...POLICY, name: 'test.alone', sandbox: true, cancelGrace: '200ms' })
export class Alone extends Sandboxed {}

@JobType({
  ...POLICY,
  name: 'test.limited',
  sandbox: true,
  cancelGrace: '200ms',
  timeout: '2s',
  attempts: 2,
})
export class Limited extends Sandboxed {}

@JobType({
  ...POLICY,
  name: 'test.resumable',
  sandbox: true,
  resumable: true,
  cancelGrace: '200ms',
  attempts: 1,
})
export class Resumable extends Sandboxed {}

/** In the worker, unless it is suspected. */
@JobType({ ...POLICY, name: 'test.plain', attempts: 5 })
export class Plain extends Sandboxed {}

@JobType({ ...POLICY, name: 'test.planned', sandbox: true })
export class Planned extends Sandboxed {
  async *plan(job: JobView<Payload>, ctx: TaskContext<Payload> & { resumeFrom: Json | undefined }) {
    const from = Number(ctx.resumeFrom ?? 0);
    for (let nth = from; nth < 4; nth++) {
      yield { key: `part-${nth}`, payload: job.payload };
      if (nth === 1) await ctx.checkpoint(2);
      if (nth === 2 && from === 0) throw new Error('the plan breaks once');
    }
  }
}

export const JOB_TYPES = [Alone, Limited, Resumable, Plain, Planned];
