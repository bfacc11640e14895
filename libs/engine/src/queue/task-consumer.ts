import { Inject, Injectable } from '@nestjs/common';
import { type Job, WaitingError, Worker } from 'bullmq';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Redis } from '@app/platform/redis/redis.js';
import { writeTogether } from '@app/platform/redis/write-together.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { DEFAULT_QUEUE } from '../store/dispatch.js';
import { Intake, type Tap } from './intake.js';
import { QUEUES, readMessageId } from './task-sender.js';

/** A worker that never gives a message up for stalled: leases in Postgres decide who runs what. */
const NEVER = 1_000_000;
/** How long a consumer may take to let go of its connections. */
const CLOSE_MS = 2000;

/**
 * Of idle workers Redis gives a message to the one that asked first, and they ask again in the same order. One that has
 * no use for a message lets the others go first for so long, and not more often than that, in milliseconds.
 */
const STEP_BACK_MS = { pause: 50, every: 1000 };

/** What is done with the messages. */
export interface MessageHandler {
  /** A message is done when this settles; it must not reject. */
  execute(message: { taskId: string; epoch: number }): Promise<void>;
  /** Whether the task is better run elsewhere. */
  lacks(taskId: string): boolean;
}

/** Takes messages from the BullMQ queues that this worker serves, as many at a time in all as it has slots. */
@Injectable()
export class TaskConsumer {
  private workers: Worker[] = [];
  private readonly intake: Intake;
  private steppedBackAt = -Infinity;

  constructor(
    @Inject(QUEUES) private readonly queues: Map<string, unknown>,
    private readonly types: JobTypeRegistry,
    private readonly redis: Redis,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.intake = new Intake(config.MAX_CONCURRENT_TASKS);
  }

  /** The tags that this worker holds: all, or those that it was given. */
  get tags(): string[] {
    return this.config.WORKER_TAGS ?? this.types.tags;
  }

  /** The queues that this worker serves: the untagged one and those of its tags. */
  get names(): string[] {
    return [...this.queues.keys()].filter((name) => name === DEFAULT_QUEUE || this.tags.includes(name));
  }

  /** What this worker can run. */
  get abilities() {
    const slots = this.config.MAX_CONCURRENT_TASKS;
    return { queues: this.names, tags: this.tags, slots, types: this.types.versions };
  }

  /** Begins to take messages. */
  start(handler: MessageHandler): void {
    this.warnOfStrangeTags();
    const connection = writeTogether(this.redis.consumer());
    this.workers = this.names.map((name) => {
      const worker: Worker = new Worker(name, (message, token) => this.take(message, token, tap, handler), {
        connection,
        prefix: this.config.REDIS_PREFIX,
        // A worker that dies between taking a message and claiming its task keeps the message until its lock ends;
        // as long as it is there, BullMQ takes what the sweeper sends again for the same.
        lockDuration: this.config.LEASE,
        stalledInterval: Math.ceil(this.config.LEASE / 3),
        maxStalledCount: NEVER,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      });
      const tap = tapOf(worker);
      this.intake.add(tap);
      worker.on('drained', () => this.intake.dry(tap));
      worker.on('error', (error) => {
        this.logger.warn({ queue: name, reason: error.message }, 'a consumer failed');
        this.intake.dry(tap);
      });
      return worker;
    });
  }

  /** A newer version of the code may declare them, or they are misspelt: then their tasks wait for another worker. */
  private warnOfStrangeTags(): void {
    const declared = this.types.tags;
    const strange = this.tags.filter((tag) => !declared.includes(tag));
    if (strange.length === 0) return;
    this.logger.warn({ tags: strange, declared }, 'WORKER_TAGS names tags that no job type declares');
  }

  private async take(
    message: Job,
    token: string | undefined,
    tap: Tap,
    handler: MessageHandler,
  ): Promise<void> {
    if (!this.intake.arrived(tap)) {
      // Back to where it was the first: whoever has a slot takes it next. If that fails, it goes back with its lock.
      await message.moveToWait(token).catch(() => {});
      throw new WaitingError();
    }
    const named = readMessageId(message.id ?? '');
    if (!named) {
      this.logger.warn({ queue: message.queueName }, 'a message that is none of ours was dropped');
      return this.intake.left(tap);
    }
    if (handler.lacks(named.taskId)) this.stepBack(tap);
    await handler.execute(named).finally(() => this.intake.left(tap));
  }

  /** Before the next question is on its way: as long as that is not answered, its place in the line is kept. */
  private stepBack(tap: Tap): void {
    const now = performance.now();
    if (now < this.steppedBackAt + STEP_BACK_MS.every) return;
    this.steppedBackAt = now;
    tap.pause();
    setTimeout(() => {
      if (!this.intake.closed) tap.wake();
    }, STEP_BACK_MS.pause).unref();
  }

  /** Takes no more messages; those in hand go on. */
  async pause(): Promise<void> {
    this.intake.close();
    await Promise.allSettled(this.workers.map((worker) => worker.pause(true)));
  }

  /** Closes, when nothing is in hand any more. */
  async close(): Promise<void> {
    const patient = Promise.allSettled(this.workers.map((worker) => worker.close()));
    const late = new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    await Promise.race([patient, late]);
  }
}

function tapOf(worker: Worker): Tap {
  return {
    set concurrency(most: number) {
      worker.concurrency = most;
    },
    pause: () => void worker.pause(true),
    wake: () => {
      // Only a worker that was paused looks for messages when it is told to.
      void worker.pause(true);
      void worker.resume();
    },
  };
}
