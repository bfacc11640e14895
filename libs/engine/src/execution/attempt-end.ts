import { Inject, Injectable } from '@nestjs/common';
import { type AttemptPolicy, DEFAULT_BACKOFF, type Outcome } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { hiderOf } from '@app/platform/config/log-rules.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { AttemptAborts } from '../cancellation/attempt-aborts.js';
import { CancelBus } from '../cancellation/cancel-bus.js';
import { Sweeper } from '../queue/sweeper.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import type { ClaimedTask } from '../store/claim-tasks.js';
import type { Finish, FinishMember } from '../store/finish-tasks.js';
import { ExitRunner } from '../syncer/exit-runner.js';
import { SchedulePoke } from '../schedules/schedule-poke.js';
import { FinalizePoke } from '../syncer/finalize-poke.js';
import { EngineMetrics } from './engine-metrics.js';
import { type Ended, judgeAttempt, type Judgement } from './judge-attempt.js';
import { ProgressFlusher } from './progress-flusher.js';
import type { RunningTask } from './running-tasks.js';
import { TaskWrites } from './task-writes.js';

/** Ends attempts: judges them, writes what became of them, and tells those whom it concerns. */
@Injectable()
export class AttemptEnd {
  private readonly over = new AbortController();
  /** Takes the secrets out of what is stored of an error. */
  private readonly hide: (text: string) => string;

  constructor(
    private readonly types: JobTypeRegistry,
    private readonly writes: TaskWrites,
    private readonly aborts: AttemptAborts,
    private readonly progress: ProgressFlusher,
    private readonly bus: CancelBus,
    private readonly poke: FinalizePoke,
    private readonly sweeper: Sweeper,
    private readonly exits: ExitRunner,
    private readonly schedules: SchedulePoke,
    private readonly metrics: EngineMetrics,
    @Inject(CONFIG) config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.hide = hiderOf(config);
  }

  /** Nothing is tried any more: the process has to go. */
  giveUp(): void {
    this.over.abort();
  }

  /** Judges an attempt by its end and writes it; does not give up while Postgres is away. */
  async conclude(running: RunningTask, ended: Ended): Promise<void> {
    const { task } = running;
    const policy = { ...this.policy(task), crashes: task.crashes };
    const { outcome, more } = judgeAttempt(ended, running.abortReason, policy, this.hide);
    if (outcome.status === 'dropped') {
      this.progress.forget(task.taskId);
      // Given up because Postgres was out of reach: if nobody has taken the task over, it is handed back uncharged.
      if (running.abortReason === 'lease-lost' && ended.kind !== 'unstoppable') {
        await this.handBack(running, 0);
      } else if (running.abortReason === 'canceled') {
        this.aborts.note(running, ended.kind === 'unstoppable' ? 'fenced' : 'stopped');
      }
      return;
    }
    if (more.suspicion === 'alone') {
      this.metrics.loneDeaths.inc();
      const reason = 'error' in outcome ? outcome.error.message : '';
      this.logger.warn({ jobId: task.jobId, taskId: task.taskId, reason }, 'a task has ended its process');
    }
    if (outcome.status === 'completed') this.progress.forget(task.taskId);
    else await this.progress.flushTask(task.taskId);
    await this.write(running, outcome, outcome.status === 'retrying' ? outcome.delayMs : 0, more);
  }

  /** Leaves a task to whoever takes it, after a while; the attempt costs it nothing. False when it was not ours. */
  async handBack(running: RunningTask, delayMs: number): Promise<boolean> {
    const finish = await this.write(running, { status: 'paused' }, delayMs, { charged: false });
    return finish?.kind === 'applied' || finish?.kind === 'mine-already';
  }

  private async write(
    running: RunningTask,
    outcome: Exclude<Outcome, { status: 'dropped' }>,
    delayMs: number,
    more: Judgement['more'],
  ): Promise<Finish | undefined> {
    const { taskId, fence } = running.task;
    const member: FinishMember = { taskId, fence, delayMs, expired: false, ...outcome, ...more };
    const finish = await this.writes.finish(member, this.over.signal);
    if (finish) await this.tell(running, finish);
    return finish;
  }

  private async tell(running: RunningTask, finish: Finish): Promise<void> {
    const { jobId, generation, taskId, type } = running.task;
    if (finish.jobStatus === 'finalizing') this.poke.poke();
    if (finish.freed) this.sweeper.poke();
    if (finish.jobStatus !== 'active') this.schedules.jobEnded();
    if (finish.jobStatus !== 'active' && this.types.find(type)?.hasExitHook) this.exits.poke();
    if (finish.jobStatus === 'failed') await this.bus.publish({ jobId, generation });
    if (finish.kind !== 'stale') return;
    this.logger.info({ jobId, taskId }, 'a late result was refused');
    // The cancel that fenced it may have been overtaken by its own message.
    if (running.abortReason !== 'lease-lost') this.aborts.note(running, 'stopped');
  }

  private policy(task: ClaimedTask): AttemptPolicy {
    return { ...task, backoff: this.types.find(task.type)?.backoff ?? DEFAULT_BACKOFF };
  }
}
