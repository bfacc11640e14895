import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { AttemptAborts } from '../cancellation/attempt-aborts.js';
import { registerWorker, retireWorker, type WorkerRecord } from '../store/worker-records.js';
import { renewLeases } from '../store/renew-leases.js';
import { RunningTasks } from './running-tasks.js';
import { WorkerIdentity } from './worker-identity.js';

/**
 * Renews the leases of this process, a third of a lease apart, and stops attempts that have lost theirs. When
 * Postgres does not answer, every attempt is stopped before its lease ends, for then another may take it over.
 */
@Injectable()
export class Heartbeat {
  private beat: NodeJS.Timeout | undefined;
  private watch: NodeJS.Timeout | undefined;
  private beating: Promise<void> | undefined;

  constructor(
    private readonly database: Database,
    private readonly running: RunningTasks,
    private readonly aborts: AttemptAborts,
    private readonly identity: WorkerIdentity,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Makes the worker known and begins to beat. */
  async start(abilities: Pick<WorkerRecord, 'queues' | 'tags' | 'slots' | 'types'>): Promise<void> {
    const { id, host } = this.identity;
    await registerWorker(this.database.main, { id, host, pid: process.pid, ...abilities });
    this.beat = setInterval(() => void this.renew(), this.config.LEASE / 3);
    this.watch = setInterval(() => this.giveUpEnding(), this.config.LEASE / 20);
  }

  /** Beats no more; to be called when nothing runs. */
  async stop(): Promise<void> {
    clearInterval(this.beat);
    clearInterval(this.watch);
    await this.beating;
    await retireWorker(this.database.main, this.identity.id).catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'the end of this worker was not noted'),
    );
  }

  /** One beat now; a beat that is on its way is waited for instead. */
  renew(): Promise<void> {
    this.beating ??= this.renewOnce()
      .catch((error: Error) => this.logger.warn({ reason: error.message }, 'a heartbeat failed'))
      .finally(() => (this.beating = undefined));
    return this.beating;
  }

  private async renewOnce(): Promise<void> {
    const asked = performance.now();
    const attempts = this.running.all();
    const leases = attempts.map(({ task }) => ({ taskId: task.taskId, fence: task.fence }));
    const renewals = await renewLeases(this.database.pulse, this.identity.id, leases, this.config.LEASE);
    for (const attempt of attempts) {
      const renewal = renewals.get(attempt.task.taskId);
      if (renewal === 'renewed') attempt.leaseEnd = asked + this.config.LEASE;
      else if (renewal === 'canceled') this.aborts.abort(attempt, 'canceled');
      else if (renewal === 'lost') this.aborts.abort(attempt, 'lease-lost');
    }
  }

  private giveUpEnding(): void {
    const soon = performance.now() + this.config.LEASE / 10;
    for (const attempt of this.running.all()) {
      if (attempt.leaseEnd < soon) this.aborts.abort(attempt, 'lease-lost');
    }
  }
}
