import { Inject, Injectable } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { fenceLostStops } from '../store/cancel-stops.js';
import { type DueFinalization, renewTurn, takeDueFinalizations } from '../store/finalization.js';
import { noteOverdueFinalizations } from '../store/overdue-finalizations.js';
import { deleteOldKeys } from '../store/idempotency-keys.js';
import { deleteOldMarks } from '../store/read-feed.js';
import { deleteEndedPauses } from '../store/pauses.js';
import { deleteOldDeliveries } from '../store/deliveries.js';
import { deleteOldJobs, deleteOldWorkers } from '../store/retention.js';
import { KEEP_MARKS_MS } from '../live/live-subscription.js';
import { inTime } from '../execution/in-time.js';
import { ExitRunner } from './exit-runner.js';
import { FinalizePoke } from './finalize-poke.js';
import { Finalizer } from './finalizer.js';
import { JobRepairs } from './job-repairs.js';

/** Finalizations at a time in one process. */
const AT_ONCE = 8;
/** Jobs that are deleted in one transaction, and transactions in one tick. */
const DELETE_BATCH = 500;
const DELETE_BATCHES = 4;
/** Keys that have expired, and notices, are deleted in as large transactions; there may be one for each submit. */
const KEY_BATCHES = 40;
/** Finalizations that are told of in one tick for taking too long. */
const OVERDUE = 100;
/** Marks of progress that are deleted in one tick: more than are made between two. */
const DELETE_MARKS = 20_000;

/**
 * The scheduled module: finalizes jobs, mends what has drifted from the tasks, and forgets old jobs. Its cron fires in every
 * process, so a tick only takes what is claimed in Postgres; ticks of one process never overlap.
 */
@Injectable()
export class Syncer {
  private readonly stopping = new AbortController();
  private ticking: Promise<void> | undefined;
  /** Whether another tick was asked for during this one, and whether with a repair. */
  private again: { repair: boolean } | undefined;
  private readonly finalizing = new Set<Promise<void>>();

  constructor(
    private readonly database: Database,
    private readonly finalizer: Finalizer,
    private readonly exits: ExitRunner,
    private readonly repairs: JobRepairs,
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
    this.exits.start();
    this.poked.listen(() => void this.tick(false));
  }

  /** No tick begins any more; a call of the Catalog that is on its way is given up, its outcome being asked for later. */
  async stop(): Promise<void> {
    if (this.schedules.doesExist('cron', 'syncer')) this.schedules.deleteCronJob('syncer');
    this.stopping.abort();
    const exits = this.exits.stop();
    await this.ticking;
    // What hangs beyond the grace is left to others when its turn is over.
    const finalizing = Promise.all(this.finalizing);
    await inTime(finalizing, this.config.SHUTDOWN_GRACE, 'a finalization hangs').catch(() => {});
    await exits;
  }

  /** One tick, or another one after that which is under way: pokes, however many, keep no repair from coming. */
  tick(repair: boolean): Promise<void> {
    if (this.ticking) {
      this.again = { repair: repair || (this.again?.repair ?? false) };
      return this.ticking;
    }
    this.again = undefined;
    this.ticking = this.run(repair).finally(() => {
      this.ticking = undefined;
      if (this.again && !this.stopping.signal.aborted) void this.tick(this.again.repair);
    });
    return this.ticking;
  }

  private async run(repair: boolean): Promise<void> {
    // One error ends its part of this tick and nothing else.
    await this.finalizeDue().catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'a sync tick failed'),
    );
    if (!repair || this.stopping.signal.aborted) return;
    await this.exits.look();
    await this.exits
      .passBy()
      .catch((error: Error) =>
        this.logger.warn({ reason: error.message }, 'exits without a job type were not looked for'),
      );
    await this.tellOverdue().catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'overdue finalizations were not looked for'),
    );
    await this.repair().catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'a repair failed'),
    );
    await this.forget().catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'a deletion failed'),
    );
  }

  /**
   * Takes as many as there is room for. One that takes long, or a Catalog that hangs, holds up none of the others. While
   * the Catalog is spared only those are taken that have something else to do first, and one that tries whether it is
   * back: what has to wait for it is not so much as touched.
   */
  private async finalizeDue(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      const calls = this.finalizer.room;
      const room =
        calls === 'one' ? Math.min(1, AT_ONCE - this.finalizing.size) : AT_ONCE - this.finalizing.size;
      if (room === 0) return;
      const due = await takeDueFinalizations(this.database.main, room, this.config.LEASE, calls !== 'none');
      for (const job of due) this.finalize(job);
      // Who tries the Catalog comes back here when that is over.
      if (due.length < room || calls === 'one') return;
    }
  }

  private finalize(job: DueFinalization): void {
    const renewal = setInterval(() => void this.renew(job), this.config.LEASE / 3);
    const work = this.finalizer.finalize(job, this.stopping.signal).finally(() => {
      clearInterval(renewal);
      this.finalizing.delete(work);
      if (!this.stopping.signal.aborted) void this.tick(false);
    });
    this.finalizing.add(work);
  }

  /** As long as this process lives the turn is left to it, and after its death no longer than a task would be. */
  private async renew(turn: DueFinalization): Promise<void> {
    await renewTurn(this.database.main, turn, this.config.LEASE).catch((error: Error) =>
      this.logger.warn({ jobId: turn.jobId, reason: error.message }, 'a turn was not renewed'),
    );
  }

  /** Jobs that the Catalog keeps waiting for so long need somebody to look; each is told of once. */
  private async tellOverdue(): Promise<void> {
    const overdue = await noteOverdueFinalizations(this.database.main, this.config.FINALIZE_LIMIT, OVERDUE);
    for (const { jobId, since } of overdue)
      this.logger.error({ jobId, since }, 'a job is being finalized for longer than FINALIZE_LIMIT');
  }

  private async repair(): Promise<void> {
    // Its word may come late by a lease; after two nobody is there to give it.
    await fenceLostStops(this.database.main, 2 * this.config.LEASE);
    await this.repairs.run();
  }

  /** Forgets keys that have expired, and ended jobs whose time is over; a few batches a tick, so that a backlog holds nothing up. */
  private async forget(): Promise<void> {
    const { RETENTION, LEASE } = this.config;
    await deleteEndedPauses(this.database.main);
    await deleteOldMarks(this.database.main, KEEP_MARKS_MS, DELETE_MARKS);
    await deleteOldWorkers(this.database.main, Math.max(RETENTION, 10 * LEASE));
    for (let batch = 0; batch < KEY_BATCHES && !this.stopping.signal.aborted; batch++) {
      if ((await deleteOldDeliveries(this.database.main, RETENTION, DELETE_BATCH)) < DELETE_BATCH) break;
    }
    for (let batch = 0; batch < KEY_BATCHES && !this.stopping.signal.aborted; batch++) {
      if ((await deleteOldKeys(this.database.main, DELETE_BATCH)) < DELETE_BATCH) break;
    }
    for (let batch = 0; batch < DELETE_BATCHES && !this.stopping.signal.aborted; batch++) {
      const deleted = await deleteOldJobs(this.database.main, this.config.RETENTION, DELETE_BATCH);
      if (deleted > 0) this.logger.info({ jobs: deleted }, 'old jobs were deleted');
      if (deleted < DELETE_BATCH) return;
    }
  }
}
