import { setTimeout as wait } from 'node:timers/promises';
import { type JobHandler, JobType, PermanentError, type TaskContext, type TaskView } from '@app/core';
import { z } from 'zod';

const Payload = z
  .strictObject({
    durationMs: z.int().min(0).max(3_600_000).default(1000).describe('how long a task waits'),
    steps: z.int().min(1).max(1000).default(10).describe('reports of progress during the wait'),
    failAttempts: z.int().min(0).max(100).default(0).describe('the first attempts of a task that fail'),
    failPermanently: z.boolean().default(false).describe('whether a task fails for good after its wait'),
    failPositions: z.array(z.int().min(0)).optional().describe('the tasks that fail; all unless given'),
    throwValue: z.json().optional().describe('thrown by a failing attempt instead of an error'),
    ignoreSignal: z.boolean().default(false).describe('whether a task goes on although told to stop'),
    result: z.json().optional().describe('what a task returns; the time it waited unless given'),
  })
  .prefault({});
type Payload = z.output<typeof Payload>;

/** Waits, and fails in the ways it is told to: for trials, demonstrations and tests. */
@JobType({ name: 'demo.wait', payload: Payload, attempts: 3, searchable: ['project', 'stage'] })
export class DemoWait implements JobHandler<Payload> {
  async run(task: TaskView<Payload>, ctx: TaskContext<Payload>): Promise<unknown> {
    const startedAt = performance.now();
    await waitInSteps(task.payload, ctx, startedAt);
    failAsAsked(task);
    const { result = { waitedMs: Math.round(performance.now() - startedAt) } } = task.payload;
    return result;
  }
}

async function waitInSteps(
  { durationMs, steps, ignoreSignal }: Payload,
  ctx: TaskContext<Payload>,
  startedAt: number,
): Promise<void> {
  const signal = ignoreSignal ? undefined : ctx.signal;
  for (let step = 1; step <= steps; step++) {
    // Counted from the start, so that late timers do not add up over a thousand steps.
    const leftMs = startedAt + (durationMs * step) / steps - performance.now();
    signal?.throwIfAborted();
    if (leftMs > 0) await wait(leftMs, undefined, { signal });
    ctx.progress((step / steps) * 100, { step, steps });
  }
}

function failAsAsked({ payload, position, attempt }: TaskView<Payload>): void {
  const { failAttempts, failPermanently, failPositions, throwValue } = payload;
  if (failPositions && !failPositions.includes(position)) return;
  if (failPermanently) throw new PermanentError('The task failed for good, as it was told to.');
  if (attempt > failAttempts) return;
  // A handler may throw anything, and this one is there to try that.
  if (throwValue !== undefined) throw throwValue;
  throw new Error(`Attempt ${attempt} failed, as it was told to.`);
}
