import { Inject, Injectable } from '@nestjs/common';
import { type Explanation, explainWait } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { Database } from '@app/platform/prisma/database.js';
import { inTime } from './execution/in-time.js';
import { TaskSender } from './queue/task-sender.js';
import { JobTypeRegistry } from './registry/job-type-registry.js';
import { readWaitFacts } from './store/wait-facts.js';

/** What Redis is asked on behalf of a request may take so long. */
const REDIS_MS = 50;

/** Tells why a job waits. */
@Injectable()
export class Explainer {
  constructor(
    private readonly database: Database,
    private readonly sender: TaskSender,
    private readonly types: JobTypeRegistry,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** The reasons that hold a job now, the first one first. Undefined when the owner has no such job. */
  async explain(ownerId: string, jobId: string): Promise<(Explanation & { jobId: string }) | undefined> {
    const facts = await readWaitFacts(this.database.main, ownerId, jobId, this.types.limits, {
      perOwner: this.config.MAX_ACTIVE_PER_OWNER,
      leaseMs: this.config.LEASE,
    });
    if (!facts) return undefined;
    const sent = await this.waitingIn(facts.queue);
    const redis = { redisIsAway: sent === undefined, sent: sent ?? 0 };
    return { jobId, ...explainWait({ ...facts, ...redis }, new Date()) };
  }

  /** Messages that wait in Redis; undefined when it is away. */
  private async waitingIn(queue: string): Promise<number | undefined> {
    if (this.sender.incarnation === '') return undefined;
    const depths = inTime(this.sender.depths([queue]), REDIS_MS, 'Redis did not answer in time.');
    return depths.then(
      (found) => found.get(queue) ?? 0,
      () => undefined,
    );
  }
}
