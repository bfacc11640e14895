import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { type DeclaredCron, InvalidJobError, type ScheduleInput } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { CancelBus } from '../cancellation/cancel-bus.js';
import { jobRulesOf } from '../registry/check-job.js';
import { checkSchedule } from '../registry/check-schedule.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { type Declaration, declareSchedules } from '../store/declare-schedules.js';

const DEFAULT_OWNER = 'system';
/** How long after a failure it is tried again. */
const RETRY_MS = 1000;
/** Who makes and changes declared schedules. */
const ACTOR = 'code';

/** The schedules that the job types of this process declare, made those of the database once, at its start. */
@Injectable()
export class DeclaredCrons {
  private done = false;
  private retryAt = 0;
  private declarations: Declaration[] = [];

  constructor(
    private readonly database: Database,
    private readonly types: JobTypeRegistry,
    private readonly bus: CancelBus,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @throws {TypeError} naming the job type, when a declaration is wrong: such a process should not start */
  async read(): Promise<void> {
    this.declarations = await Promise.all(this.types.crons.map((cron) => this.check(cron)));
  }

  /**
   * Writes them if that was not done yet. A failure is logged and tried again: Postgres may have been away, and what
   * spoils these must not keep others from firing.
   */
  async sync(): Promise<void> {
    if (this.done || performance.now() < this.retryAt) return;
    this.retryAt = performance.now() + RETRY_MS;
    await this.write().catch((error: Error) => {
      this.logger.error({ reason: error.message }, 'the declared schedules could not be written');
    });
  }

  private async write(): Promise<void> {
    const { changed, retired, taken, canceled } = await declareSchedules(
      this.database.main,
      this.declarations,
      ACTOR,
    );
    this.done = true;
    for (const job of canceled) void this.bus.publish(job);
    for (const name of changed) this.logger.info({ name }, 'a declared schedule is as the code says');
    for (const name of retired)
      this.logger.warn({ name }, 'a schedule is declared no more and fires no more');
    for (const name of taken) this.logger.error({ name }, 'a declared schedule has the name of another one');
  }

  private async check({ type, cron }: { type: string; cron: DeclaredCron }): Promise<Declaration> {
    const { owner = DEFAULT_OWNER, payload, job, ...rest } = cron;
    const input: ScheduleInput = {
      ...rest,
      job: { ...job, type, ...(payload === undefined ? {} : { payload }) },
    };
    const limits = { leastIntervalMs: 1000, job: jobRulesOf(this.config) };
    try {
      const rule = await checkSchedule(input, this.types, limits);
      return { ownerId: owner, rule, hash: createHash('sha256').update(JSON.stringify(rule)).digest('hex') };
    } catch (error) {
      if (!(error instanceof InvalidJobError)) throw error;
      throw new TypeError(
        `The schedule "${cron.name}" of the job type "${type}" is wrong: ${error.message}`,
        { cause: error },
      );
    }
  }
}
