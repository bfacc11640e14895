import { setImmediate } from 'node:timers/promises';
import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Queue } from 'bullmq';
import { validate as isUuid } from 'uuid';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Redis } from '@app/platform/redis/redis.js';
import { inTime } from '../execution/in-time.js';
import type { Delivery } from '../store/dispatch.js';

/** Injection token of the BullMQ queues, by name. */
export const QUEUES = Symbol('QUEUES');

/** How often it is asked which life of Redis this is. */
const ASK_MS = 1000;
/** A send that Redis does not confirm by then has failed; the sweeper repeats it. */
const SEND_TIMEOUT_MS = 5000;
const MOST_AT_ONCE = 1000;

/**
 * Puts tasks into their BullMQ queues. Only ids travel; a message sent twice is one, as long as the first is there.
 * Nobody waits for it to accept a job: what is not sent is found by the sweeper.
 */
@Injectable()
export class TaskSender implements OnApplicationBootstrap, OnModuleDestroy {
  private life = '';
  private timer: NodeJS.Timeout | undefined;
  private waiting: Delivery[] = [];
  private sending: Promise<void> | undefined;

  constructor(
    @Inject(QUEUES) private readonly queues: Map<string, Queue>,
    private readonly redis: Redis,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.refreshIncarnation();
    this.timer = setInterval(() => void this.refreshIncarnation(), ASK_MS);
  }

  async onModuleDestroy(): Promise<void> {
    clearInterval(this.timer);
    await this.sending;
  }

  /** The life of Redis that messages go to now; empty while Redis is away. */
  get incarnation(): string {
    return this.redis.ready ? this.life : '';
  }

  /** Asks Redis which life it is; empty when it cannot be asked. */
  async refreshIncarnation(): Promise<string> {
    this.life = this.redis.ready ? await this.redis.incarnation().catch(() => '') : '';
    return this.life;
  }

  /** The queues that this process knows. */
  get queueNames(): string[] {
    return [...this.queues.keys()];
  }

  /** How many messages wait in Redis, by queue. Of those that this process does not know, none are told. */
  async depths(names: string[]): Promise<Map<string, number>> {
    const known = names.flatMap((name) => this.queues.get(name) ?? []);
    const counts = await Promise.all(
      known.map(async (queue) => [queue.name, await queue.getWaitingCount()] as const),
    );
    return new Map(counts);
  }

  /** Whether this process knows a queue; one of a newer or an older version may not. */
  knows(queue: string): boolean {
    return this.queues.has(queue);
  }

  /** Sends in the background; what comes while a batch is on its way forms the next. */
  sendSoon(deliveries: Delivery[]): void {
    if (deliveries.length === 0 || this.incarnation === '') return;
    for (const delivery of deliveries) this.waiting.push(delivery);
    this.sending ??= this.sendWaiting();
  }

  private async sendWaiting(): Promise<void> {
    // Not at once: what else is accepted in this turn of the event loop goes along.
    await setImmediate();
    while (this.waiting.length > 0) {
      try {
        await this.send(this.waiting.splice(0, MOST_AT_ONCE));
      } catch (error) {
        this.waiting = [];
        this.logger.warn({ reason: (error as Error).message }, 'tasks were not sent; the sweeper will');
      }
    }
    // In the same turn as the last look: what comes later starts anew.
    this.sending = undefined;
  }

  /** Sends, and settles when Redis has them all; rejects when it is away or does not answer. */
  async send(deliveries: Delivery[]): Promise<void> {
    if (!this.redis.ready) throw new Error('Redis is away.');
    for (const name of new Set(deliveries.map((delivery) => delivery.queue))) {
      const group = deliveries.filter((delivery) => delivery.queue === name);
      const queue = this.queues.get(name);
      if (!queue) throw new Error(`There is no queue "${name}" in this process.`);
      for (let at = 0; at < group.length; at += MOST_AT_ONCE) {
        const adding = queue.addBulk(group.slice(at, at + MOST_AT_ONCE).map(toMessage));
        await inTime(adding, SEND_TIMEOUT_MS, `Redis did not confirm within ${SEND_TIMEOUT_MS} ms.`);
      }
    }
  }
}

/** An id may hold no colon. A new epoch is a new message: BullMQ ignores an id while any record of it exists. */
function toMessage({ taskId, epoch }: Delivery) {
  return {
    name: 'task',
    data: {},
    opts: { jobId: `${taskId}.${epoch}`, removeOnComplete: true, removeOnFail: true, attempts: 1 },
  };
}

/**
 * The task and the epoch of a message; undefined when it is none of ours. Claimed with others in one statement, such a
 * one would make it fail for all of them.
 */
export function readMessageId(messageId: string): { taskId: string; epoch: number } | undefined {
  const [, taskId = '', epoch = ''] = /^([0-9a-f-]{36})\.(\d{1,9})$/.exec(messageId) ?? [];
  return isUuid(taskId) ? { taskId, epoch: Number(epoch) } : undefined;
}
