import { setTimeout as wait } from 'node:timers/promises';
import { type JobHandler, JobType, type TaskContext, type TaskView } from '@app/core';
import { z } from 'zod';
import { Common, recorded } from './effects.js';

const Payload = z.strictObject({ ...Common, durationMs: z.int().min(0).max(60_000) });
type Payload = z.output<typeof Payload>;

/** Waits in small steps and stops when it is told to. What it did before it was cut off is lost. */
@JobType({
  name: 'fault.work',
  payload: Payload,
  attempts: 20,
  backoff: { kind: 'exponential', base: '50ms', cap: '500ms' },
})
export class FaultWork implements JobHandler<Payload> {
  run(task: TaskView<Payload>, ctx: TaskContext<Payload>): Promise<unknown> {
    const { effects, durationMs } = task.payload;
    const { taskId, attempt } = task;
    return recorded(effects, { jobId: ctx.job.jobId, taskId, attempt }, async () => {
      for (let step = 1; step <= 4; step++) {
        await wait(durationMs / 4, undefined, { signal: ctx.signal });
        ctx.progress(step * 25);
      }
    });
  }
}
