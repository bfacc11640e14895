import { Inject, Injectable } from '@nestjs/common';
import { cleanJson, type JobHandler, type Json, PermanentError, type TaskContext } from '@app/core';
import { Database } from '@app/platform/prisma/database.js';
import { Sweeper } from '../queue/sweeper.js';
import { addPlannedTasks, type PlannedInput } from '../store/add-planned-tasks.js';
import { AttemptAborts } from '../cancellation/attempt-aborts.js';
import { patiently } from './patiently.js';
import type { RunningTask } from './running-tasks.js';
import { jobView } from './task-context.js';
import { WorkerIdentity } from './worker-identity.js';
import { newId } from '../store/new-id.js';

/** Tasks that are committed together, and how long the first of them waits for the others, in milliseconds. */
const BATCH = 500;
const BATCH_WAIT_MS = 200;
/** Tasks of one job, in all. */
const MOST_TASKS = 1_000_000;
const LONGEST_KEY = 200;

/** Runs the plan of a job: commits the tasks that it yields in batches, to be admitted while it goes on. */
@Injectable()
export class PlanRunner {
  constructor(
    private readonly database: Database,
    private readonly sweeper: Sweeper,
    private readonly aborts: AttemptAborts,
    @Inject(WorkerIdentity) private readonly identity: WorkerIdentity,
  ) {}

  /** Settles when the plan has yielded its last task and all are committed; throws what the plan throws. */
  async run(
    running: RunningTask,
    handler: JobHandler<unknown, unknown>,
    context: TaskContext,
  ): Promise<void> {
    const pending: PlannedInput[] = [];
    let planned = 0;
    let since = performance.now();
    const commit = async (checkpoint?: Json) => {
      if (pending.length > 0 || checkpoint !== undefined)
        await this.commit(running, pending.splice(0), checkpoint);
      since = performance.now();
    };
    const ctx = {
      ...context,
      resumeFrom: running.task.checkpoint ?? undefined,
      checkpoint: async (data: Json) => {
        running.throwIfAborted();
        await commit(cleanJson(data) ?? null);
      },
    };
    for await (const { key, payload } of handler.plan?.(jobView(running), ctx) ?? []) {
      running.throwIfAborted();
      if (++planned > MOST_TASKS) throw new PermanentError(`A job has at most ${MOST_TASKS} tasks.`);
      pending.push({ taskId: newId(), key: checkedKey(key), payload: cleanJson(payload) ?? null });
      if (pending.length >= BATCH || performance.now() - since > BATCH_WAIT_MS) await commit();
    }
    running.throwIfAborted();
    await commit();
  }

  private async commit(
    running: RunningTask,
    inputs: PlannedInput[],
    checkpoint: Json | undefined,
  ): Promise<void> {
    const added = await patiently(running, () =>
      addPlannedTasks(this.database.main, running.task, inputs, {
        actor: this.identity.actor,
        ...(checkpoint === undefined ? {} : { checkpoint }),
      }),
    );
    if (added === undefined) {
      this.aborts.abort(running, 'lease-lost');
      running.throwIfAborted();
      return;
    }
    if (added > 0) this.sweeper.poke();
  }
}

function checkedKey(key: unknown): string {
  if (typeof key !== 'string' || key === '' || key.length > LONGEST_KEY) {
    throw new PermanentError(`The key of a planned task is a text of 1 to ${LONGEST_KEY} characters.`);
  }
  return String(cleanJson(key));
}
