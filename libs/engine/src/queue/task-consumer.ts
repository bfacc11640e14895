import { Inject, Injectable } from '@nestjs/common';
import { Worker } from 'bullmq';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Redis } from '@app/platform/redis/redis.js';
import { writeTogether } from '@app/platform/redis/write-together.js';
import { QUEUES, readMessageId } from './task-sender.js';

/** A worker that never gives a message up for stalled: leases in Postgres decide who runs what. */
const NEVER = 1_000_000;
/** How long a consumer may take to let go of its connections. */
const CLOSE_MS = 2000;

/** Takes messages from the BullMQ queues that this worker serves, as many at a time as it has slots. */
@Injectable()
export class TaskConsumer {
  private workers: Worker[] = [];

  constructor(
    @Inject(QUEUES) private readonly queues: Map<string, unknown>,
    private readonly redis: Redis,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** The queues that this worker serves: all, or the untagged one and those of its tags. */
  get names(): string[] {
    const tags = this.config.WORKER_TAGS;
    return [...this.queues.keys()].filter(
      (name) => name === 'default' || tags === undefined || tags.includes(name),
    );
  }

  /** Begins to take messages. A message is done when `handle` settles; it must not reject. */
  start(handle: (message: { taskId: string; epoch: number }) => Promise<void>): void {
    const connection = writeTogether(this.redis.consumer());
    this.workers = this.names.map((name) => {
      const worker = new Worker(name, async (message) => handle(readMessageId(message.id ?? '')), {
        connection,
        prefix: this.config.REDIS_PREFIX,
        concurrency: this.config.MAX_CONCURRENT_TASKS,
        // A worker that dies between taking a message and claiming its task keeps the message until its lock ends;
        // as long as it is there, BullMQ takes what the sweeper sends again for the same.
        lockDuration: this.config.LEASE,
        stalledInterval: Math.ceil(this.config.LEASE / 3),
        maxStalledCount: NEVER,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      });
      worker.on('error', (error) =>
        this.logger.warn({ queue: name, reason: error.message }, 'a consumer failed'),
      );
      return worker;
    });
  }

  /** Takes no more messages; those in hand go on. */
  async pause(): Promise<void> {
    await Promise.allSettled(this.workers.map((worker) => worker.pause(true)));
  }

  /** Closes, when nothing is in hand any more. */
  async close(): Promise<void> {
    const patient = Promise.allSettled(this.workers.map((worker) => worker.close()));
    const late = new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    await Promise.race([patient, late]);
  }
}
