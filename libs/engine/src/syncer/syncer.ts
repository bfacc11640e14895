import { Inject, Injectable } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { takeDueFinalizations } from '../store/finalization.js';
import { repairProgress } from '../store/repair-progress.js';
import { FinalizePoke } from './finalize-poke.js';
import { Finalizer } from './finalizer.js';

/** Finalizations at a time in one process. */
const AT_ONCE = 8;
/** A finalization is left to its process for the calls that a turn makes, and time to compute the body. */
const leaseMs = (callMs: number) => 60_000 + 3 * callMs;
/** Jobs whose progress is looked after in one tick. */
const REPAIRS = 50;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * The scheduled module: finalizes jobs and mends progress that has drifted from the tasks. Its cron fires in every
 * process, so a tick only takes what is claimed in Postgres; ticks of one process never overlap.
 */
@Injectable()
export class Syncer {
  private readonly stopping = new AbortController();
  private ticking: Promise<void> | undefined;
  private again = false;
  private repairAfter = FIRST;

  constructor(
    private readonly database: Database,
    private readonly finalizer: Finalizer,
    private readonly schedules: SchedulerRegistry,
    private readonly poked: FinalizePoke,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  start(): void {
    const cron = CronJob.from({
      cronTime: this.config.SYNC_CRON,
      onTick: () => void this.tick(true),
      timeZone: 'UTC',
    });
    this.schedules.addCronJob('syncer', cron);
    cron.start();
    this.poked.listen(() => void this.tick(false));
  }

  /** No tick begins any more; a call of the Catalog that is on its way is given up, its outcome being asked for later. */
  async stop(): Promise<void> {
    if (this.schedules.doesExist('cron', 'syncer')) this.schedules.deleteCronJob('syncer');
    this.stopping.abort();
    await this.ticking;
  }

  /** One tick, or another one after that which is under way. */
  tick(repair: boolean): Promise<void> {
    if (this.ticking) {
      this.again = true;
      return this.ticking;
    }
    this.again = false;
    this.ticking = this.run(repair).finally(() => {
      this.ticking = undefined;
      if (this.again && !this.stopping.signal.aborted) void this.tick(false);
    });
    return this.ticking;
  }

  private async run(repair: boolean): Promise<void> {
    // One error ends its part of this tick and nothing else.
    await this.finalizeDue().catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'a sync tick failed'),
    );
    if (!repair || this.stopping.signal.aborted) return;
    await this.repair().catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'a repair failed'),
    );
  }

  private async finalizeDue(): Promise<void> {
    let more = true;
    while (more && !this.stopping.signal.aborted) {
      const due = await takeDueFinalizations(
        this.database.main,
        AT_ONCE,
        leaseMs(this.config.CATALOG_TIMEOUT),
      );
      await Promise.all(due.map((job) => this.finalizer.finalize(job, this.stopping.signal)));
      more = due.length === AT_ONCE;
    }
  }

  private async repair(): Promise<void> {
    const { next, mended } = await repairProgress(this.database.main, this.repairAfter, REPAIRS);
    this.repairAfter = next ?? FIRST;
    if (mended > 0) this.logger.warn({ jobs: mended }, 'progress had drifted and was mended');
  }
}
