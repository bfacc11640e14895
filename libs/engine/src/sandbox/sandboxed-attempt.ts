import type { JobHandler, JobView, PlannedTask, TaskContext, TaskView } from '@app/core';
import type { RunningTask } from '../execution/running-tasks.js';
import type { FromSandbox } from './sandbox-messages.js';
import type { SandboxProcess } from './sandbox-process.js';
import { packError, unpackError } from './thrown-error.js';

/** The process of an attempt ended without an answer, and nobody had ended it. */
export class LoneDeathError extends Error {
  override readonly name = 'LoneDeathError';
  /** @param how such as `signal SIGKILL` or `exit code 1` */
  constructor(readonly how: string) {
    super(`The process of the task ended with ${how}.`);
  }
}

/** What an attempt needs of the worker. */
export interface SandboxPorts {
  /** Starts a process when there is a place for it; it is ready when this settles. */
  start(signal: AbortSignal): Promise<SandboxProcess>;
  /** Ends what a process that is gone has left open in Postgres. */
  cleanUp(): Promise<void>;
  /** The attempt no longer holds its task. */
  lose(): void;
}

type Answer =
  Extract<FromSandbox, { kind: 'planned' | 'returned' | 'threw' }> | { kind: 'died'; how: string };

/** An attempt that runs in a process of its own: to the executor a handler like any other, but one that can be killed. */
export class SandboxedAttempt implements JobHandler<unknown, unknown> {
  /** Called when the handler is about to begin. */
  onBegin: () => void = () => {};
  private process: SandboxProcess | undefined;
  private killed = false;

  constructor(
    private readonly running: RunningTask,
    private readonly ports: SandboxPorts,
  ) {}

  async run(_task: TaskView, ctx: TaskContext): Promise<unknown> {
    return (await this.converse(ctx).next()).value;
  }

  plan(_job: JobView, ctx: TaskContext): AsyncIterable<PlannedTask> {
    return this.converse(ctx);
  }

  /** Ends its process, and waits until it is gone. */
  async kill(): Promise<void> {
    this.killed = true;
    await this.process?.kill();
  }

  /**
   * Yields what a plan yields, one at a time: the plan goes on when its task is taken, so that a checkpoint finds the
   * tasks before it committed. Returns what the handler returns.
   */
  private async *converse(ctx: TaskContext): AsyncGenerator<PlannedTask, unknown> {
    const { signal } = ctx;
    const process = await this.ports.start(signal);
    this.process = process;
    const answers = new Inbox<Answer>();
    const abort = () => {
      const reason = this.running.abortReason;
      if (reason) process.send({ kind: 'abort', reason });
    };
    let answered = false;
    try {
      process.onMessage = (message) => this.hear(message, ctx, answers);
      void process.exited.then((how) => answers.put({ kind: 'died', how }));
      this.onBegin();
      process.send({ kind: 'run', task: this.running.task });
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
      for (;;) {
        const answer = await answers.take();
        answered = answer.kind !== 'planned';
        if (answer.kind === 'returned') return answer.value;
        if (answer.kind === 'threw') throw unpackError(answer.thrown);
        if (answer.kind === 'died') {
          await this.ports.cleanUp();
          throw this.killed ? signal.reason : new LoneDeathError(answer.how);
        }
        yield { key: answer.key, payload: answer.payload };
        process.send({ kind: 'next' });
      }
    } finally {
      signal.removeEventListener('abort', abort);
      // A plan whose tasks are not wanted any more: asked to stop it does so in its grace, else it is of no use.
      if (!answered && signal.aborted) await process.exited;
      else if (!answered) await process.kill();
      else void process.close();
    }
  }

  private hear(message: FromSandbox, ctx: TaskContext, answers: Inbox<Answer>): void {
    switch (message.kind) {
      case 'progress':
        return ctx.progress(message.percent, message.detail);
      case 'log':
        return ctx.log[message.level](message.message, message.fields);
      case 'lost':
        return this.ports.lose();
      case 'checkpoint':
        return void this.save(message, ctx);
      case 'planned':
      case 'returned':
      case 'threw':
        answers.put(message);
    }
  }

  private async save(
    { id, data }: Extract<FromSandbox, { kind: 'checkpoint' }>,
    ctx: TaskContext,
  ): Promise<void> {
    try {
      await ctx.checkpoint(data);
      this.process?.send({ kind: 'checkpointed', id });
    } catch (error) {
      this.process?.send({ kind: 'checkpointed', id, thrown: packError(error) });
    }
  }
}

/** What has come and was not taken yet. */
class Inbox<T> {
  private readonly items: T[] = [];
  private waiting: ((item: T) => void) | undefined;

  put(item: T): void {
    const waiting = this.waiting;
    this.waiting = undefined;
    if (waiting) waiting(item);
    else this.items.push(item);
  }

  take(): Promise<T> {
    const item = this.items.shift();
    return item === undefined ? new Promise((resolve) => (this.waiting = resolve)) : Promise.resolve(item);
  }
}
