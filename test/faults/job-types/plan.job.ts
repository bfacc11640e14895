import { setTimeout as wait } from 'node:timers/promises';
import { type JobHandler, JobType, type JobView, type TaskContext, type TaskView } from '@app/core';
import { z } from 'zod';
import { Common, recorded } from './effects.js';

const Payload = z.strictObject({
  ...Common,
  count: z.int().min(0).max(10_000),
  durationMs: z.int().min(0).max(60_000),
});
type Payload = z.output<typeof Payload>;
type Part = Pick<Payload, 'effects' | 'durationMs'>;

/** Plans its tasks a few at a time, so that it can be cut off in between. */
@JobType({
  name: 'fault.plan',
  payload: Payload,
  attempts: 20,
  backoff: { kind: 'exponential', base: '50ms', cap: '500ms' },
})
export class FaultPlan implements JobHandler<Payload, Part> {
  async *plan(job: JobView<Payload>, ctx: TaskContext<Payload>) {
    const { count, effects, durationMs } = job.payload;
    for (let nth = 0; nth < count; nth++) {
      yield { key: `part-${nth}`, payload: { effects, durationMs } };
      if (nth % 10 === 9) await wait(100, undefined, { signal: ctx.signal });
    }
  }

  run(task: TaskView<Part>, ctx: TaskContext<Payload>): Promise<unknown> {
    const { taskId, attempt, payload } = task;
    return recorded(payload.effects, { jobId: ctx.job.jobId, taskId, attempt }, async () => {
      await wait(payload.durationMs, undefined, { signal: ctx.signal });
    });
  }
}
