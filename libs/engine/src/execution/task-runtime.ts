import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { AttemptAborts } from '../cancellation/attempt-aborts.js';
import { CancelListener } from '../cancellation/cancel-bus.js';
import { Notifier } from '../notifications/notifier.js';
import { Sweeper } from '../queue/sweeper.js';
import { Ticker } from '../schedules/ticker.js';
import { TaskConsumer } from '../queue/task-consumer.js';
import { Syncer } from '../syncer/syncer.js';
import { Heartbeat } from './heartbeat.js';
import { ProgressFlusher } from './progress-flusher.js';
import { TaskExecutor } from './task-executor.js';

/** Starts and stops everything that executes tasks, in an order in which nothing is lost. */
@Injectable()
export class TaskRuntime implements OnApplicationBootstrap, OnModuleDestroy {
  private started = false;

  constructor(
    private readonly heartbeat: Heartbeat,
    private readonly cancels: CancelListener,
    private readonly aborts: AttemptAborts,
    private readonly consumer: TaskConsumer,
    private readonly executor: TaskExecutor,
    private readonly progress: ProgressFlusher,
    private readonly sweeper: Sweeper,
    private readonly syncer: Syncer,
    private readonly ticker: Ticker,
    private readonly notifier: Notifier,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    this.started = true;
    await this.heartbeat.start(this.consumer.abilities);
    await this.cancels.start();
    this.consumer.start(this.executor);
    await this.sweeper.start();
    this.syncer.start();
    await this.ticker.start();
    this.notifier.start();
  }

  async onModuleDestroy(): Promise<void> {
    if (!this.started) return;
    await this.consumer.pause();
    const others = [this.syncer, this.sweeper, this.ticker, this.notifier];
    await Promise.all([this.executor.drain(), ...others.map((other) => other.stop())]);
    await this.progress.stop();
    await this.aborts.settled();
    await Promise.all([this.heartbeat.stop(), this.consumer.close()]);
  }
}
