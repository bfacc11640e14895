import { Inject, Injectable } from '@nestjs/common';
import {
  DuplicateJobError,
  type Job,
  type Schedule,
  type ScheduleInput,
  type SlotRecord,
  Slots,
  type Submitter,
} from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { Database } from '@app/platform/prisma/database.js';
import { CancelBus } from './cancellation/cancel-bus.js';
import { LivePoke } from './live/live-poke.js';
import { AdmissionPoke } from './queue/admission-poke.js';
import { Quotas } from './quotas.js';
import { TaskSender } from './queue/task-sender.js';
import { jobRulesOf } from './registry/check-job.js';
import { checkSchedule, checkTiming } from './registry/check-schedule.js';
import { JobTypeRegistry } from './registry/job-type-registry.js';
import { SchedulePoke } from './schedules/schedule-poke.js';
import { SlotJobs } from './schedules/slot-jobs.js';
import {
  changeSchedule,
  createSchedule,
  deleteSchedule,
  pauseSchedule,
  resumeSchedule,
  type ScheduleChange,
} from './store/change-schedules.js';
import { JobQueries, newJobView } from './store/job-queries.js';
import {
  findSchedule,
  ownerOfSchedule,
  pageOfSchedules,
  pageOfSlots,
  type ScheduleCursor,
  type SlotFilter,
} from './store/schedule-queries.js';
import { type ScheduleRow, toInput, toSchedule } from './store/schedule-rows.js';
import { SlotBlocked, triggerSchedule } from './store/trigger-schedule.js';

const PREVIEWED = 5;

/** Fields of a schedule to change; null takes back one that was given. */
export type ScheduleChanges = { [F in keyof ScheduleInput]?: ScheduleInput[F] | null | undefined };

/** Makes, shows and changes schedules, always for an owner. */
@Injectable()
export class Schedules {
  constructor(
    private readonly database: Database,
    private readonly types: JobTypeRegistry,
    private readonly jobs: SlotJobs,
    private readonly queries: JobQueries,
    private readonly quotas: Quotas,
    private readonly sender: TaskSender,
    private readonly admission: AdmissionPoke,
    private readonly pokes: SchedulePoke,
    private readonly bus: CancelBus,
    private readonly live: LivePoke,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /**
   * Makes a schedule; its slots begin after now.
   * @throws {InvalidJobError} naming what is wrong; {DuplicateScheduleError} when the name is taken;
   * {QuotaExceededError} when the owner has too many
   */
  async create(input: ScheduleInput, by: Submitter): Promise<Schedule> {
    const rule = await checkSchedule(input, this.types, this.limits);
    const most = this.config.MAX_SCHEDULES;
    const row = await createSchedule(this.database.main, by.ownerId, rule, by.actor, { most });
    this.pokes.poke();
    return toSchedule(row);
  }

  /**
   * The next instants of a schedule that is not made.
   * @throws {InvalidJobError} naming what is wrong
   */
  preview(input: Partial<ScheduleInput>): Date[] {
    const timing = checkTiming(input, this.limits.leastIntervalMs);
    const now = new Date();
    const slots = new Slots({ ...timing, anchor: timing.startAt ?? now });
    return slots.after(now, Math.min(PREVIEWED, input.maxRuns ?? PREVIEWED)).map(({ at }) => at);
  }

  /** Whose a schedule is, for an administrator who acts for its owner. */
  ownerOf(scheduleId: string): Promise<string | undefined> {
    return ownerOfSchedule(this.database.main, scheduleId);
  }

  /** One schedule, or undefined when the owner has none of that id. */
  find(ownerId: string, scheduleId: string): Promise<Schedule | undefined> {
    return findSchedule(this.database.main, ownerId, scheduleId);
  }

  /** The schedules of an owner, newest first, after a cursor. */
  page(ownerId: string, page: { limit: number; after?: ScheduleCursor }): Promise<Schedule[]> {
    return pageOfSchedules(this.database.main, ownerId, page.limit, page.after);
  }

  /** What became of the slots of a schedule, the latest first. Undefined when the owner has no such schedule. */
  slots(
    ownerId: string,
    scheduleId: string,
    page: { limit: number; filter?: SlotFilter; before?: Date },
  ): Promise<SlotRecord[] | undefined> {
    return pageOfSlots(this.database.main, ownerId, scheduleId, page.limit, page.filter ?? {}, page.before);
  }

  /**
   * Changes a schedule. When its slots or jobs become others, what waits is dropped and what runs goes on. Undefined when
   * the owner has no such schedule.
   * @throws as `create`; {DeclaredScheduleError} when it is declared in code
   */
  async change(
    ownerId: string,
    scheduleId: string,
    changes: ScheduleChanges,
    by: { actor: string },
  ): Promise<Schedule | undefined> {
    const rule = (row: ScheduleRow) => checkSchedule(merged(toInput(row), changes), this.types, this.limits);
    return this.changed(await changeSchedule(this.database.main, ownerId, scheduleId, rule, by.actor));
  }

  /** Deletes a schedule: nothing of it begins any more. Undefined when the owner has none of that id. */
  async remove(ownerId: string, scheduleId: string, by: { actor: string }): Promise<Schedule | undefined> {
    return this.changed(await deleteSchedule(this.database.main, ownerId, scheduleId, by.actor));
  }

  /** Lets no slot fire until it is resumed, or until a time. Undefined when the owner has no such schedule. */
  async pause(
    ownerId: string,
    scheduleId: string,
    pause: { actor: string; reason: string | null; until: Date | null },
  ): Promise<Schedule | undefined> {
    const row = await pauseSchedule(this.database.main, ownerId, scheduleId, pause);
    this.pokes.poke();
    return row && toSchedule(row);
  }

  /**
   * Ends a pause. Undefined when the owner has no such schedule.
   * @throws {InvalidJobError} when its rule cannot be read here
   */
  async resume(ownerId: string, scheduleId: string): Promise<Schedule | undefined> {
    const row = await resumeSchedule(this.database.main, ownerId, scheduleId);
    this.pokes.poke();
    return row && toSchedule(row);
  }

  /**
   * Makes a job of a schedule now, paused or not. Undefined when the owner has no such schedule.
   * @throws {DuplicateJobError} when a job that must end first is open; {QuotaExceededError}; {InvalidJobError} when its
   * type does not take the job any more, or its rule cannot be read here
   */
  async trigger(ownerId: string, scheduleId: string, by: { actor: string }): Promise<Job | undefined> {
    const { incarnation } = this.sender;
    const prepare = (firing: Parameters<SlotJobs['make']>[0]) => this.jobs.make(firing, by.actor);
    const schedule = await this.find(ownerId, scheduleId);
    if (!schedule) return undefined;
    try {
      const tasks = await this.jobs.countTasks(schedule.job);
      const { made } = await this.quotas.within(ownerId, tasks, async () => {
        const made = await triggerSchedule(this.database.main, ownerId, scheduleId, {
          ...by,
          incarnation,
          prepare,
        });
        return { made, accepted: made !== undefined };
      });
      if (!made) return undefined;
      this.admission.poke();
      this.live.poke();
      return newJobView(made.job, made.createdAt);
    } catch (error) {
      if (!(error instanceof SlotBlocked)) throw error;
      // Of a job of somebody else nothing is told.
      throw new DuplicateJobError((await this.queries.find(ownerId, error.jobId)) && error.jobId);
    }
  }

  private get limits() {
    return { leastIntervalMs: this.config.SCHEDULE_MIN_INTERVAL, job: jobRulesOf(this.config) };
  }

  private changed(change: ScheduleChange | undefined): Schedule | undefined {
    if (!change) return undefined;
    for (const job of change.canceled) void this.bus.publish(job);
    if (change.canceled.length > 0) this.live.poke();
    this.pokes.poke();
    return toSchedule(change.row);
  }
}

/** An input with some fields given anew; of the two kinds of timing the one that is given takes the place of the other. */
function merged(input: ScheduleInput, changes: ScheduleChanges): ScheduleInput {
  const timing = changes.cron ? { every: null } : changes.every ? { cron: null } : {};
  const all = Object.entries({ ...input, ...timing, ...changes });
  return Object.fromEntries(
    all.filter(([, value]) => value !== null && value !== undefined),
  ) as unknown as ScheduleInput;
}
