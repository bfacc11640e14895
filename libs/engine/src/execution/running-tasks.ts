import { Injectable } from '@nestjs/common';
import type { AbortReason } from '@app/core';
import type { ClaimedTask } from '../store/claim-tasks.js';

/** How many cancels are remembered for attempts that are just being claimed. */
const REMEMBERED = 1000;

/** An attempt that runs in this process. */
export class RunningTask {
  private reason: AbortReason | undefined;
  /** Made for the handlers that look at it: a signal costs more than all else that an attempt of nothing does. */
  private controller: AbortController | undefined;
  private listener: (() => void) | undefined;

  /** @param leaseEnd when the lease ends at the earliest, by `performance.now()` */
  constructor(
    readonly task: ClaimedTask,
    public leaseEnd: number,
  ) {}

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.reason) this.raise(this.reason);
    }
    return this.controller.signal;
  }

  /** Why the signal was raised, if it was. The first reason stays, but a lost lease beats it, and a cancel both. */
  get abortReason(): AbortReason | undefined {
    return this.reason;
  }

  /** @throws what the signal was raised with, if it was. */
  throwIfAborted(): void {
    if (this.reason) this.signal.throwIfAborted();
  }

  /** Calls a listener, the only one, when the attempt is asked to stop; at once if it was. */
  onAbort(listener: (() => void) | undefined): void {
    this.listener = listener;
    if (this.reason) listener?.();
  }

  /** Asks the handler to stop. True when this was the first time. */
  abort(reason: AbortReason): boolean {
    const first = this.reason === undefined;
    if (first || reason === 'canceled' || (reason === 'lease-lost' && this.reason !== 'canceled')) {
      this.reason = reason;
    }
    if (first) {
      this.raise(reason);
      this.listener?.();
    }
    return first;
  }

  private raise(reason: AbortReason): void {
    this.controller?.abort(new DOMException(`The attempt is to stop: ${reason}.`, 'AbortError'));
  }
}

/** The attempts that run in this process. */
@Injectable()
export class RunningTasks {
  /** What is done with attempts whose job was said to be canceled. */
  onNamed: (attempts: RunningTask[]) => void = () => {};
  private readonly tasks = new Map<string, RunningTask>();
  private readonly named = new Set<string>();

  /** Adds an attempt; the cancel of its job may have come while it was being claimed. */
  add(running: RunningTask): void {
    this.tasks.set(running.task.taskId, running);
    if (this.named.has(keyOf(running.task))) this.onNamed([running]);
  }

  /** Takes an attempt out; a later attempt of the same task stays. */
  remove(running: RunningTask): void {
    if (this.tasks.get(running.task.taskId) === running) this.tasks.delete(running.task.taskId);
  }

  get(taskId: string): RunningTask | undefined {
    return this.tasks.get(taskId);
  }

  all(): RunningTask[] {
    return [...this.tasks.values()];
  }

  /** Somebody says that a job is canceled; it is remembered for the attempts that are only being claimed. */
  name(job: { jobId: string; generation: number }): void {
    this.named.add(keyOf(job));
    const [oldest] = this.named;
    if (this.named.size > REMEMBERED && oldest !== undefined) this.named.delete(oldest);
    const attempts = this.all().filter((running) => keyOf(running.task) === keyOf(job));
    if (attempts.length > 0) this.onNamed(attempts);
  }
}

function keyOf({ jobId, generation }: { jobId: string; generation: number }): string {
  return `${jobId}.${generation}`;
}
