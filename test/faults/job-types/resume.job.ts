import { setTimeout as wait } from 'node:timers/promises';
import { type JobHandler, JobType, type TaskContext, type TaskView } from '@app/core';
import { z } from 'zod';
import { Common, recorded } from './effects.js';

const Payload = z.strictObject({
  ...Common,
  steps: z.int().min(1).max(1000),
  stepMs: z.int().min(1).max(10_000),
});
type Payload = z.output<typeof Payload>;

/** Goes on from its checkpoint: a stop of its worker costs it no attempt, and it may have only one. */
@JobType({ name: 'fault.resume', payload: Payload, attempts: 1, resumable: true })
export class FaultResume implements JobHandler<Payload> {
  run(task: TaskView<Payload>, ctx: TaskContext<Payload>): Promise<unknown> {
    const { effects, steps, stepMs } = task.payload;
    const { taskId, attempt } = task;
    return recorded(effects, { jobId: ctx.job.jobId, taskId, attempt }, async () => {
      const first = typeof task.checkpoint === 'number' ? task.checkpoint : 0;
      for (let step = first; step < steps; step++) {
        await wait(stepMs, undefined, { signal: ctx.signal });
        ctx.progress(((step + 1) / steps) * 100);
        await ctx.checkpoint(step + 1);
      }
    });
  }
}
