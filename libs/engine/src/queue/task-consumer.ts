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

type Handle = (message: { taskId: string; epoch: number }) => Promise<void>;

/** Takes messages from the BullMQ queues that this worker serves, as many at a time in all as it has slots. */
@Injectable()
export class TaskConsumer {
  private workers: Worker[] = [];
  private readonly intake: Intake;

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
    const types = this.types.names.map((name) => [name, this.types.find(name)?.version ?? 1] as const);
    return {
      queues: this.names,
      tags: this.tags,
      slots: this.config.MAX_CONCURRENT_TASKS,
      types: Object.fromEntries(types),
    };
  }

  /** Begins to take messages. A message is done when `handle` settles; it must not reject. */
  start(handle: Handle): void {
    this.warnOfStrangeTags();
    const connection = writeTogether(this.redis.consumer());
    this.workers = this.names.map((name) => {
      const worker: Worker = new Worker(name, (message, token) => this.take(message, token, tap, handle), {
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

  private async take(message: Job, token: string | undefined, tap: Tap, handle: Handle): Promise<void> {
    if (!this.intake.arrived(tap)) {
      // Back to where it was the first: whoever has a slot takes it next. If that fails, it goes back with its lock.
      await message.moveToWait(token).catch(() => {});
      throw new WaitingError();
    }
    await handle(readMessageId(message.id ?? '')).finally(() => this.intake.left(tap));
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
