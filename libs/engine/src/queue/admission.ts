import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { EngineMetrics } from '../execution/engine-metrics.js';
import { WorkerIdentity } from '../execution/worker-identity.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { admitTasks, lookAtLeader, lookAtQueues, type QueueState, stepDown } from '../store/admit-tasks.js';
import { type Delivery, lookAgain } from '../store/dispatch.js';
import { TaskSender } from './task-sender.js';

/** After a send that failed. */
const RETRY_MS = 1000;

/** What a pass has done. */
interface Pass {
  admitted: number;
  more: boolean;
  waiting: boolean;
}
const NOTHING: Pass = { admitted: 0, more: false, waiting: false };
const FULL: Pass = { admitted: 0, more: false, waiting: true };

/** How often a queue without room is noted. */
const NOTE_MS = 1000;

/** How long a process admits without a break where there are workers that are unlike it. */
const TERM_MS = 1000;

/**
 * Admits held tasks to their queues, in fair turns and within the limits of types and owners. Any number of processes
 * do so side by side, one at a time.
 */
@Injectable()
export class Admission {
  private readonly names: string[];
  private leadsSince: number | undefined;
  private following = false;
  private yieldsUntil = 0;

  constructor(
    private readonly database: Database,
    private readonly sender: TaskSender,
    private readonly types: JobTypeRegistry,
    private readonly identity: WorkerIdentity,
    private readonly metrics: EngineMetrics,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.names = sender.queueNames;
  }

  /**
   * One pass. `admitted`: how many tasks; `more`: another one may admit more at once; `waiting`: tasks wait for room in a
   * queue, which may come soon.
   */
  async pass(): Promise<Pass> {
    const { incarnation } = this.sender;
    if (incarnation === '') return NOTHING;
    const { main } = this.database;
    const { LEASE, MAX_ACTIVE_PER_OWNER, SWEEP_INTERVAL } = this.config;
    const by = this.identity.id;
    const { led, unlike } = await lookAtLeader(main, by, LEASE);
    if (led || performance.now() < this.yieldsUntil) return this.follow();
    this.following = false;
    const queues = await lookAtQueues(main, this.names, LEASE);
    const busy = queues.filter((queue) => !isIdle(queue));
    if (busy.length === 0) return NOTHING;
    const waiting = await this.sender.depths(this.names);
    if (busy.every((queue) => isFull(queue, waiting.get(queue.name) ?? 0))) return FULL;
    const limits = { limits: this.types.limits, perOwner: MAX_ACTIVE_PER_OWNER };
    const admission = await admitTasks(main, { by, waiting, ...limits, leaseMs: LEASE, incarnation });
    if (!admission) return this.follow();
    this.leadsSince ??= performance.now();
    await this.send(admission.admitted);
    // Workers of another version know types, tags and limits that this one does not: they admit in turn.
    if (unlike && performance.now() - this.leadsSince > TERM_MS) {
      this.yieldsUntil = performance.now() + 2 * SWEEP_INTERVAL;
      await stepDown(main, by);
    }
    const admitted = admission.admitted.length;
    return { admitted, more: admission.more, waiting: admission.backlogged };
  }

  /** Whether another process admits, as far as this one knows. */
  get follows(): boolean {
    return this.following;
  }

  private follow(): Pass {
    this.leadsSince = undefined;
    this.following = true;
    return NOTHING;
  }

  private async send(tasks: Delivery[]): Promise<void> {
    if (tasks.length === 0) return;
    try {
      await this.sender.send(tasks);
      this.metrics.sent.inc({ by: 'admission' }, tasks.length);
    } catch (error) {
      this.logger.debug({ reason: (error as Error).message }, 'admitted tasks were not sent');
      await lookAgain(this.database.main, tasks, RETRY_MS);
    }
  }
}

/** Whether nothing waits to be admitted to a queue, and the last pass has noted all that there was to note. */
function isIdle({ held, paused, window, slots, backlogged }: QueueState): boolean {
  return !(held && !paused) && window === slots && !backlogged;
}

/**
 * Whether tasks wait for room in a queue, none has come, and a pass would note what the last one did, a moment ago: the
 * rate at which tasks are admitted falls meanwhile. A window as narrow as the slots of its workers stays as it is.
 */
function isFull({ held, paused, window, slots, backlogged, ageMs }: QueueState, waiting: number): boolean {
  return held && !paused && backlogged && window === slots && waiting >= window && ageMs < NOTE_MS;
}
