import { Inject, Injectable } from '@nestjs/common';
import {
  cleanJson,
  cleanResult,
  type Json,
  PermanentError,
  type TaskContext,
  type Transaction,
} from '@app/core';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { patiently } from '../execution/patiently.js';
import { RunningTask } from '../execution/running-tasks.js';
import { jobView, taskContext, taskView } from '../execution/task-context.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { commitEffect, StaleFenceError } from '../store/commit-effect.js';
import { nameBackend } from '../store/sandbox-backends.js';
import type { ToSandbox } from './sandbox-messages.js';
import { packError, unpackError } from './thrown-error.js';
import type { WorkerChannel } from './worker-channel.js';

/** A report of progress waits so long for a later one, in milliseconds: handlers report as often as they like. */
const PROGRESS_MS = 50;

/** The one task of this process. The worker holds its claim; here is only its code. */
@Injectable()
export class SandboxedTask {
  private running!: RunningTask;
  private worker!: WorkerChannel;
  private goOn: (() => void) | undefined;
  private readonly saving = new Map<number, (answer: Extract<ToSandbox, { kind: 'checkpointed' }>) => void>();
  private checkpoints = 0;
  private unsent: { percent: number; detail: Json | undefined } | undefined;

  constructor(
    private readonly types: JobTypeRegistry,
    private readonly database: Database,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Tells the worker that it is ready, runs what it is given and answers. Settles when the answer is on its way. */
  async serve(worker: WorkerChannel): Promise<void> {
    this.worker = worker;
    this.running = await new Promise((resolve) => {
      worker.listen((message) => {
        if (message.kind === 'run') resolve(new RunningTask(message.task, Infinity));
        else this.hear(message);
      });
      void worker.send({ kind: 'ready' });
    });
    try {
      const value = storable(await this.run());
      this.sendProgress();
      await worker.send({ kind: 'returned', value });
    } catch (error) {
      this.sendProgress();
      await worker.send({ kind: 'threw', thrown: packError(error) });
    }
  }

  private hear(message: ToSandbox): void {
    if (message.kind === 'abort') {
      this.running.abort(message.reason);
      this.goOn?.();
    }
    if (message.kind === 'next') this.goOn?.();
    if (message.kind === 'checkpointed') this.saving.get(message.id)?.(message);
  }

  private async run(): Promise<unknown> {
    const { running } = this;
    const handler = this.types.handlerOf(running.task);
    if (!handler) throw new Error('The process for this task lacks its job type.');
    const ctx = this.context();
    if (running.task.kind === 'task') return handler.run(taskView(running), ctx);
    const planning = { ...ctx, resumeFrom: running.task.checkpoint ?? undefined };
    for await (const { key, payload } of handler.plan?.(jobView(running), planning) ?? []) {
      const taken = new Promise<void>((resolve) => (this.goOn = resolve));
      await this.worker.send({ kind: 'planned', key, payload: cleanJson(payload) ?? null });
      if (!running.abortReason) await taken;
      running.throwIfAborted();
    }
    return undefined;
  }

  private context(): TaskContext {
    const context = taskContext(this.running, {
      logger: this.logger,
      progress: (percent, detail) => this.progress(percent, detail),
      checkpoint: (data) => this.checkpoint(data),
      commit: (key, effect) => this.commit(key, effect),
    });
    return {
      ...context,
      log: {
        info: (message, fields = {}) => this.log('info', message, fields),
        warn: (message, fields = {}) => this.log('warn', message, fields),
      },
    };
  }

  private progress(percent: number, detail: Json | undefined): void {
    if (!this.unsent) setTimeout(() => this.sendProgress(), PROGRESS_MS);
    this.unsent = { percent, detail: detail ?? this.unsent?.detail };
  }

  private sendProgress(): void {
    const { unsent } = this;
    this.unsent = undefined;
    if (unsent) void this.worker.send({ kind: 'progress', ...unsent });
  }

  private log(level: 'info' | 'warn', message: string, fields: object): void {
    const send = (what: object) => this.worker.send({ kind: 'log', level, message, fields: what });
    // Functions and the like cannot be sent.
    send(fields).catch(() => send(cleanJson(fields) as object).catch(() => {}));
  }

  private async checkpoint(data: Json): Promise<void> {
    const id = ++this.checkpoints;
    const saved = new Promise<Extract<ToSandbox, { kind: 'checkpointed' }>>((resolve) =>
      this.saving.set(id, resolve),
    );
    void this.worker.send({ kind: 'checkpoint', id, data });
    const { thrown } = await saved;
    this.saving.delete(id);
    if (thrown) throw unpackError(thrown);
  }

  private async commit(key: string, effect: (tx: Transaction) => Promise<Json>): Promise<Json> {
    const { task } = this.running;
    const named = async (tx: Transaction) => {
      await nameBackend(tx, task);
      return effect(tx);
    };
    try {
      return await patiently(this.running, () => commitEffect(this.database.effects, task, key, named));
    } catch (error) {
      if (!(error instanceof StaleFenceError)) throw error;
      void this.worker.send({ kind: 'lost' });
      this.running.abort('lease-lost');
      this.running.throwIfAborted();
      throw error;
    }
  }
}

/** The result as it will be stored; one that cannot be is a failure that no further attempt mends. */
function storable(value: unknown): Json | undefined {
  try {
    return cleanResult(value);
  } catch (error) {
    throw new PermanentError(packError(error).message);
  }
}
