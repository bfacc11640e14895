import { Inject, Injectable } from '@nestjs/common';
import { InvalidJobError, type JobTemplate, rankOf } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { checkJob, dedupeOf, jobRulesOf } from '../registry/check-job.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import type { NewJob } from '../store/accept-jobs.js';
import { tasksOf } from '../store/plan-slots.js';
import type { ScheduleRow } from '../store/schedule-rows.js';

/** Makes the job of a slot from the template of its schedule. */
@Injectable()
export class SlotJobs {
  constructor(
    private readonly types: JobTypeRegistry,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** @throws {InvalidJobError} when its type does not take it any more */
  async make(
    { schedule, slot, jobId }: { schedule: ScheduleRow; slot: Date; jobId: string },
    actor = `schedule:${schedule.scheduleId}`,
  ): Promise<NewJob> {
    const { template, ownerId, scheduleId, now } = schedule;
    const checked = await checkJob(template, this.types, jobRulesOf(this.config));
    const limits = [checked.maxRuntimeMs, schedule.maxRuntimeMs].filter((limit) => limit !== null);
    return {
      ...checked,
      jobId,
      ownerId,
      actor,
      maxRuntimeMs: limits.length === 0 ? null : Math.min(...limits),
      // By the clock of Postgres, as all that schedules do.
      rank: rankOf(now.getTime(), checked.priority, this.config.PRIORITY_AGEING),
      idempotency: null,
      dedupe: dedupeOf(this.types, template, ownerId),
      direct: 0,
      schedule: { scheduleId, slot },
    };
  }

  /**
   * How many tasks a job of a template has from the beginning.
   * @throws {InvalidJobError} when its type does not take it any more
   */
  async countTasks(template: JobTemplate): Promise<number> {
    return tasksOf(await checkJob(template, this.types, jobRulesOf(this.config)));
  }

  /** The job, or why there can be none. */
  async tryMake(firing: { schedule: ScheduleRow; slot: Date; jobId: string }): Promise<NewJob | string> {
    try {
      return await this.make(firing);
    } catch (error) {
      if (error instanceof InvalidJobError) return `its job is refused: ${error.message}`.slice(0, 500);
      throw error;
    }
  }
}
