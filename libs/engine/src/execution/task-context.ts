import {
  cleanJson,
  type JobView,
  type Json,
  type TaskContext,
  type TaskView,
  type Transaction,
} from '@app/core';
import type { Logger } from '@app/platform/observability/logger.js';
import type { RunningTask } from './running-tasks.js';

/** What the context of an attempt writes to. */
export interface ContextPorts {
  logger: Logger;
  progress(percent: number, detail: Json | undefined): void;
  checkpoint(data: Json): Promise<void>;
  commit(key: string, effect: (tx: Transaction) => Promise<Json>): Promise<Json>;
}

/** The job of an attempt, as its handler sees it. */
export function jobView({ task }: RunningTask): JobView {
  return {
    jobId: task.jobId,
    type: task.type,
    ownerId: task.ownerId,
    generation: task.generation,
    payload: task.jobPayload,
    payloadVersion: task.payloadVersion,
    createdAt: task.jobCreatedAt,
  };
}

/** The task of an attempt, as its handler sees it. */
export function taskView({ task }: RunningTask): TaskView {
  const { taskId, key, position, attempt, payload } = task;
  return { taskId, key, position, attempt, payload, checkpoint: task.checkpoint ?? undefined };
}

/**
 * What a handler may do besides its work. Nothing is reported any more once its signal is raised. What a handler of
 * nothing does not look at is not made.
 */
export function taskContext(running: RunningTask, ports: ContextPorts): TaskContext {
  const { taskId, jobId, attempt } = running.task;
  let own: Logger | undefined;
  const logger = () => (own ??= ports.logger.child({ jobId, taskId, attempt }));
  return {
    get signal() {
      return running.signal;
    },
    get job() {
      return jobView(running);
    },
    log: {
      info: (message, fields = {}) => logger().info(fields, message),
      warn: (message, fields = {}) => logger().warn(fields, message),
    },
    progress(percent, detail) {
      if (running.abortReason || !Number.isFinite(percent)) return;
      ports.progress(Math.floor(Math.min(Math.max(percent, 0), 100)), cleanJson(detail));
    },
    async checkpoint(data) {
      running.throwIfAborted();
      await ports.checkpoint(cleanJson(data) ?? null);
    },
    async commit(key, effect) {
      running.throwIfAborted();
      const result = await ports.commit(key, async (tx) => cleanJson(await effect(tx)) ?? null);
      return result as Awaited<ReturnType<typeof effect>>;
    },
  };
}
