import { Inject, Injectable } from '@nestjs/common';
import { DEFAULT_BACKOFF, outcomeOfLostLease } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { Redis } from '@app/platform/redis/redis.js';
import { CancelBus } from '../cancellation/cancel-bus.js';
import { EngineHealth } from '../execution/engine-health.js';
import { EngineMetrics } from '../execution/engine-metrics.js';
import { Rest } from '../execution/rest.js';
import { LivePoke } from '../live/live-poke.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import {
  type DueTask,
  LOOK_BACK_MS,
  lookAgain,
  noteSent,
  recallLost,
  takeDueTasks,
} from '../store/dispatch.js';
import { Batcher } from '../store/batcher.js';
import { type Finish, type FinishMember, finishTasks } from '../store/finish-tasks.js';
import { failOverdueJobs, startDueJobs, takeDueJobs, untilNextDue } from '../store/timed-jobs.js';
import { Admission } from './admission.js';
import { AdmissionPoke } from './admission-poke.js';
import { TaskSender } from './task-sender.js';

const MOST_AT_ONCE = 500;
/** While tasks wait for room in a queue, in milliseconds; twice as long each time that none has come. */
const ROOM_PAUSE_MS = 20;
/** A job that was locked is looked at again after this. */
const BUSY_PAUSE_MS = 50;
/** Tasks of a queue that this process lacks are left to others for so long. */
const UNKNOWN_QUEUE_PAUSE_MS = 5000;
/** After a send that failed. */
const RETRY_MS = 1000;

/**
 * The authority over what is to run: holds whatever is due and was not sent, until it is admitted, sends again what was
 * sent and led to nothing, ends attempts whose worker has fallen silent, and recalls everything when Redis is another one
 * than it was. Any number of them run side by side.
 */
@Injectable()
export class Sweeper {
  private readonly expiries: Batcher<FinishMember, Finish>;
  private stopped = false;
  /** When the next look at all due work is made, by `performance.now()`: the first at the start. */
  private allAgainAt = 0;
  private known: string | undefined;
  private loop: Promise<void> | undefined;
  private readonly rest = new Rest();
  private roomPause = ROOM_PAUSE_MS;

  constructor(
    private readonly database: Database,
    private readonly sender: TaskSender,
    private readonly admission: Admission,
    private readonly others: AdmissionPoke,
    private readonly types: JobTypeRegistry,
    private readonly bus: CancelBus,
    private readonly live: LivePoke,
    private readonly redis: Redis,
    private readonly metrics: EngineMetrics,
    private readonly health: EngineHealth,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.expiries = new Batcher(
      (member) => member.taskId,
      (members) => finishTasks(database.main, members, 'sweeper'),
    );
  }

  async start(): Promise<void> {
    this.loop = this.run();
    await this.others.listen(() => {
      if (this.admission.follows) return;
      this.rest.wake();
    });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.health.retire('sweeper');
    this.rest.wake();
    await this.loop;
  }

  /** Makes the next sweep come at once: tasks were held, or what they wait for may have come. */
  poke(): void {
    this.rest.wake();
    if (this.admission.follows) this.others.poke();
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      this.health.sign('sweeper');
      const next = await this.sweep().catch((error: Error) => {
        this.logger.warn({ reason: error.message }, 'a sweep failed');
        return { more: false, waiting: false };
      });
      if (!next.more) await this.rest.take(await this.pause(next.waiting));
    }
  }

  /** Until the next time of anything, so that jobs begin when they are due and not up to an interval later. */
  private pause(waiting: boolean): Promise<number> {
    const most = Math.min(this.config.SWEEP_INTERVAL, waiting ? this.roomPause : Infinity);
    return untilNextDue(this.database.main, most).catch(() => most);
  }

  /** One sweep. `more`: there may be more to do at once; `waiting`: tasks wait for room, which may come soon. */
  async sweep(): Promise<{ more: boolean; waiting: boolean }> {
    await this.watchRedis();
    const all = performance.now() >= this.allAgainAt;
    const backMs = all ? LOOK_BACK_MS.all : LOOK_BACK_MS.short;
    const jobs = await this.sweepJobs(backMs);
    const due = await takeDueTasks(this.database.main, MOST_AT_ONCE, this.config.LEASE, backMs);
    const full = due.length === MOST_AT_ONCE || jobs === MOST_AT_ONCE;
    if (all && !full) this.allAgainAt = performance.now() + LOOK_BACK_MS.short / 2;
    const ended = due.filter((task) => task.leaseEnded);
    if (ended.length > 0) await this.expire(ended);
    const lost = due.filter((task) => !task.leaseEnded && !task.held);
    const strange = lost.filter((task) => !this.sender.knows(task.queue));
    if (strange.length > 0) await lookAgain(this.database.main, strange, UNKNOWN_QUEUE_PAUSE_MS);
    const sent = await this.send(lost.filter((task) => !strange.includes(task)));
    const { admitted, more, waiting } = await this.admission.pass();
    this.roomPause = admitted > 0 ? ROOM_PAUSE_MS : Math.min(2 * this.roomPause, this.config.SWEEP_INTERVAL);
    return { more: more || ended.length > 0 || (full && sent), waiting };
  }

  /** Jobs that are due begin, and jobs that are overdue end. Answers how many it has looked at. */
  private async sweepJobs(backMs: number): Promise<number> {
    const due = await takeDueJobs(this.database.main, MOST_AT_ONCE, backMs);
    const idsOf = (kind: string) => due.filter((job) => job.kind === kind).map((job) => job.jobId);
    const [starting, overdue] = [idsOf('start'), idsOf('deadline')];
    if (overdue.length > 0) {
      for (const job of await failOverdueJobs(this.database.main, overdue)) await this.bus.publish(job);
    }
    if (starting.length > 0) await startDueJobs(this.database.main, starting);
    if (due.length > 0) this.live.poke();
    return due.length;
  }

  private async watchRedis(): Promise<void> {
    const incarnation = await this.sender.refreshIncarnation();
    if (incarnation === '' || incarnation === this.known) return;
    const lost = await recallLost(this.database.main, incarnation);
    this.metrics.recalled.inc(lost);
    if (this.known !== undefined) {
      this.logger.warn({ tasks: lost }, 'Redis is a new one: open work is sent again');
    }
    await this.warnOfEviction();
    this.known = incarnation;
  }

  /** Redis would silently drop messages when it is full; they are found again, but late and at a cost. */
  private async warnOfEviction(): Promise<void> {
    const policy = await this.redis.evictionPolicy().catch(() => undefined);
    if (policy === undefined || policy === 'noeviction') return;
    this.logger.error({ policy }, 'Redis has a maxmemory-policy other than noeviction: set it to noeviction');
  }

  /** False when Redis does not take them: then there is no use in looking for more at once. */
  private async send(tasks: DueTask[]): Promise<boolean> {
    if (tasks.length === 0) return true;
    const { incarnation } = this.sender;
    try {
      await this.sender.send(tasks);
      this.metrics.sent.inc({ by: 'sweeper' }, tasks.length);
      await noteSent(this.database.main, tasks, incarnation);
      return true;
    } catch (error) {
      this.logger.debug({ reason: (error as Error).message }, 'tasks were not sent');
      await lookAgain(this.database.main, tasks, RETRY_MS);
      return false;
    }
  }

  /** Judges attempts whose lease has ended; a worker that comes back late finds its fence refused. */
  private async expire(tasks: DueTask[]): Promise<void> {
    const results = new Map<string, Finish>();
    await Promise.all(
      tasks.map(async (task) => {
        try {
          results.set(task.taskId, await this.expiries.add(this.judge(task)));
        } catch (error) {
          this.logger.warn(
            { taskId: task.taskId, reason: (error as Error).message },
            'a lease was not judged',
          );
        }
      }),
    );
    this.live.poke();
    for (const task of tasks) {
      const result = results.get(task.taskId);
      if (result?.kind !== 'applied') continue;
      this.metrics.leasesExpired.inc();
      this.logger.warn(
        { jobId: task.jobId, taskId: task.taskId, attempt: task.attempt },
        'a lease has ended',
      );
      if (result.jobStatus === 'failed')
        await this.bus.publish({ jobId: task.jobId, generation: task.generation });
    }
    const busy = tasks.filter((task) => results.get(task.taskId)?.kind === 'busy');
    if (busy.length > 0) await lookAgain(this.database.main, busy, BUSY_PAUSE_MS);
  }

  private judge(task: DueTask): FinishMember {
    const outcome = outcomeOfLostLease({
      ...task,
      backoff: this.types.find(task.type)?.backoff ?? DEFAULT_BACKOFF,
    });
    return {
      taskId: task.taskId,
      fence: task.fence,
      status: outcome.status,
      delayMs: outcome.status === 'retrying' ? outcome.delayMs : 0,
      charged: outcome.status !== 'queued',
      expired: true,
      ...(task.workerDead ? { suspicion: 'raised' as const } : {}),
      ...('error' in outcome ? { error: outcome.error } : {}),
    };
  }
}
