import { Inject, Injectable } from '@nestjs/common';
import type { JobHandler } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { AttemptAborts } from '../cancellation/attempt-aborts.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import type { SandboxedAttempt } from '../sandbox/sandboxed-attempt.js';
import { Sandboxes } from '../sandbox/sandboxes.js';
import { lookAgain } from '../store/dispatch.js';
import { commitEffect, StaleFenceError } from '../store/commit-effect.js';
import { saveCheckpoint } from '../store/task-progress.js';
import { type Settlement, settle } from './attempt.js';
import { AttemptEnd } from './attempt-end.js';
import { CrowdedTasks } from './crowded-tasks.js';
import { EngineHealth } from './engine-health.js';
import { EngineMetrics } from './engine-metrics.js';
import { GrowingPauses } from './growing-pauses.js';
import { patiently } from './patiently.js';
import { PlanRunner } from './plan-runner.js';
import { ProgressFlusher } from './progress-flusher.js';
import { RunningTask, RunningTasks } from './running-tasks.js';
import { taskContext, taskView } from './task-context.js';
import { TaskWrites } from './task-writes.js';

/** The grace of a type that says nothing of its own; see JobTypeOptions.cancelGrace. */
const CANCEL_GRACE_MS = 10_000;
/** By then BullMQ has forgotten the message that is given up; one of the same id would be ignored. */
const HAND_ON_MS = 250;
/** A task that this worker has no code for is offered again after this, and twice as late each time up to a bound. */
const LACKING_PAUSE_MS = { first: 250, most: 2000 };

/** Executes tasks: claims and runs them. How they end is for {@link AttemptEnd}. */
@Injectable()
export class TaskExecutor {
  private readonly lacking = new GrowingPauses(LACKING_PAUSE_MS);
  private readonly inHand = new Set<Promise<void>>();
  private readonly goingDown = new AbortController();
  private readonly stopSignal = new AbortController();
  /** Handlers that ran on after their attempt was judged without them. */
  private unstoppable = 0;

  constructor(
    private readonly database: Database,
    private readonly types: JobTypeRegistry,
    private readonly writes: TaskWrites,
    private readonly running: RunningTasks,
    private readonly aborts: AttemptAborts,
    private readonly progress: ProgressFlusher,
    private readonly plans: PlanRunner,
    private readonly sandboxes: Sandboxes,
    private readonly crowded: CrowdedTasks,
    private readonly end: AttemptEnd,
    private readonly metrics: EngineMetrics,
    private readonly health: EngineHealth,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  private get stopping(): boolean {
    return this.stopSignal.signal.aborted;
  }

  /**
   * Executes the task of a message, if it is to be had. Settles when there is room for another one: when the handler
   * has ended and not when that is written, for the lease, and no message, keeps the task. Never rejects.
   */
  execute({ taskId, epoch }: { taskId: string; epoch: number }): Promise<void> {
    return new Promise((done) => {
      const work = this.executeNow(taskId, epoch, done)
        .catch((error: Error) =>
          this.logger.error({ taskId, reason: error.message }, 'a task was not executed'),
        )
        .finally(() => {
          this.inHand.delete(work);
          done();
        });
      this.inHand.add(work);
    });
  }

  private async executeNow(taskId: string, epoch: number, done: () => void): Promise<void> {
    const release = () => {
      // While ends wait for Postgres nothing more is taken than can be running and waiting.
      if (this.inHand.size <= 2 * this.config.MAX_CONCURRENT_TASKS) done();
    };
    try {
      const claim = await this.writes.claim(taskId, epoch, this.stopSignal.signal);
      if (claim === 'given-up') await this.handOn(taskId, epoch, HAND_ON_MS);
      if (claim === 'lacking') await this.handOn(taskId, epoch, this.lackingPause(taskId));
      if (typeof claim === 'string') return release();
      const running = new RunningTask(claim.task, claim.leaseEnd);
      this.running.add(running);
      if (this.stopping) this.stop(running);
      await this.attempt(running, epoch, release).finally(() => this.running.remove(running));
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Whether this worker had no code for a task when it last saw it, or has no room for it. */
  lacks(taskId: string): boolean {
    return this.lacking.has(taskId) || this.crowded.has(taskId);
  }

  /** During a rolling deploy others have the code, and each time it is a matter of luck who takes the message. */
  private lackingPause(taskId: string): number {
    if (!this.lacking.has(taskId))
      this.logger.warn({ taskId }, 'this worker lacks a job type, or its version');
    return this.lacking.next(taskId);
  }

  /** Its message ends here: another worker gets one of its own, a little later, when this one is gone. */
  private async handOn(taskId: string, epoch: number, afterMs: number): Promise<void> {
    const delivery = { taskId, epoch, queue: '' };
    const kinds = ['task', 'plan'] as const;
    await lookAgain(
      this.database.main,
      kinds.map((kind) => ({ ...delivery, kind })),
      afterMs,
    );
  }

  /** A task that must run alone is handed back when there is no room for its process: a slot is for what can run. */
  private async attempt(running: RunningTask, epoch: number, release: () => void): Promise<void> {
    const { task } = running;
    const handler = this.types.handlerOf(task);
    if (!handler) throw new Error(`A task of ${task.type} was claimed without its code.`);
    const alone = this.types.find(task.type)?.sandbox || task.suspect;
    const leave = alone ? this.sandboxes.enter() : undefined;
    if (alone && !leave) return this.handBack(running, epoch, release);
    this.crowded.entered(task.taskId);
    const sandbox = alone ? this.sandboxes.open(running) : undefined;
    const work = this.run(running, sandbox ?? handler);
    this.metrics.running.inc();
    const ended = () => {
      this.metrics.running.dec();
      leave?.();
      release();
    };
    void work.then(ended, ended);
    const grace = this.types.find(task.type)?.cancelGraceMs ?? CANCEL_GRACE_MS;
    const settled = await this.limited(running, settle(work, running, grace), sandbox);
    if (settled.kind === 'unstoppable' && sandbox) {
      await sandbox.kill();
      await work.catch(() => {});
      return this.end.conclude(running, { kind: 'killed' });
    }
    if (settled.kind === 'unstoppable') this.giveUp(work, release);
    await this.end.conclude(running, settled);
  }

  private async handBack(running: RunningTask, epoch: number, release: () => void): Promise<void> {
    const { taskId, kind } = running.task;
    release();
    const written = await this.end.handBack(running, this.crowded.pause(taskId));
    if (written) this.crowded.add({ taskId, kind, queue: '', epoch: epoch + 1 });
  }

  /**
   * A handler that does not stop gives its slot up, for its attempt is fenced and others wait. When there are as many
   * of them as slots, only a new process can be rid of them.
   */
  private giveUp(work: Promise<unknown>, release: () => void): void {
    this.metrics.fenced.inc();
    this.unstoppable++;
    const ended = () => this.unstoppable--;
    void work.then(ended, ended);
    release();
    if (this.unstoppable < this.config.MAX_CONCURRENT_TASKS || this.stopping) return;
    this.health.stuck(`${this.unstoppable} handlers do not stop, as many as there are slots`);
  }

  private async run(running: RunningTask, handler: JobHandler<unknown, unknown>): Promise<unknown> {
    running.throwIfAborted();
    const { task } = running;
    const context = taskContext(running, {
      logger: this.logger,
      progress: (percent, detail) => this.progress.note(task, percent, detail),
      checkpoint: async (data) => {
        if (!(await patiently(running, () => saveCheckpoint(this.database.main, task, data))))
          this.lose(running);
      },
      commit: async (key, effect) => {
        try {
          return await patiently(running, () => commitEffect(this.database.effects, task, key, effect));
        } catch (error) {
          if (error instanceof StaleFenceError) this.lose(running);
          throw error;
        }
      },
    });
    if (task.kind === 'plan') return this.plans.run(running, handler, context);
    return handler.run(taskView(running), context);
  }

  /** The attempt no longer holds its task: its signal is raised, and its handler is left with that reason. */
  private lose(running: RunningTask): void {
    this.aborts.abort(running, 'lease-lost');
    running.throwIfAborted();
  }

  /** Raises the signal when the attempt takes longer than its type allows; what goes before its begin is not counted. */
  private async limited(
    running: RunningTask,
    settled: Promise<Settlement>,
    sandbox: SandboxedAttempt | undefined,
  ): Promise<Settlement> {
    const limit = this.types.find(running.task.type)?.timeoutMs;
    if (limit === undefined) return settled;
    let timer: NodeJS.Timeout | undefined;
    const start = () => {
      timer = setTimeout(() => this.aborts.abort(running, 'timeout'), limit);
    };
    if (sandbox) sandbox.onBegin = start;
    else start();
    return settled.finally(() => clearTimeout(timer));
  }

  private stop(running: RunningTask): void {
    if (running.task.resumable) this.aborts.abort(running, 'shutdown');
  }

  /**
   * Brings what runs to its end: resumable tasks are handed back at once, the others may finish until half of
   * the grace is over and are then aborted. Settles when all is written, or when the grace is over.
   */
  async drain(): Promise<void> {
    this.stopSignal.abort();
    const crowded = this.crowded.stop();
    const grace = this.config.SHUTDOWN_GRACE;
    for (const running of this.running.all()) this.stop(running);
    const interrupt = setTimeout(() => {
      for (const running of this.running.all()) this.aborts.abort(running, 'shutdown');
    }, grace / 2);
    // What does not heed that has its process taken away while there is still time to write what became of it.
    const killing = setTimeout(() => this.sandboxes.killAll(), grace);
    const over = setTimeout(() => this.goDown(), grace + 1000);
    const given = new Promise<void>((resolve) =>
      this.goingDown.signal.addEventListener('abort', () => resolve()),
    );
    await Promise.race([Promise.allSettled(this.inHand), given]);
    clearTimeout(interrupt);
    clearTimeout(killing);
    clearTimeout(over);
    this.goDown();
    await crowded;
  }

  private goDown(): void {
    this.goingDown.abort();
    this.end.giveUp();
  }
}
