import { setTimeout as wait } from 'node:timers/promises';
import { type JobHandler, JobType, type TaskContext, type TaskView } from '@app/core';
import { z } from 'zod';
import { Common, recorded } from './effects.js';

const Payload = z.strictObject({ ...Common, afterMs: z.int().min(0).max(60_000) });
type Payload = z.output<typeof Payload>;

/** Kills the process that it runs in, whatever that is. */
@JobType({
  name: 'fault.killer',
  payload: Payload,
  attempts: 20,
  backoff: { kind: 'exponential', base: '50ms', cap: '500ms' },
})
export class FaultKiller implements JobHandler<Payload> {
  async run(task: TaskView<Payload>, ctx: TaskContext<Payload>): Promise<unknown> {
    const { taskId, attempt, payload } = task;
    await recorded(payload.effects, { jobId: ctx.job.jobId, taskId, attempt }, async () => {
      await wait(payload.afterMs, undefined, { signal: ctx.signal });
      // Its end is noted before it, for nobody is there to note it afterwards.
      throw new Error('It kills its process now.');
    }).catch(() => process.kill(process.pid, 'SIGKILL'));
    return wait(60_000);
  }
}
