import { Inject, Injectable } from '@nestjs/common';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { Redis } from '@app/platform/redis/redis.js';
import { SchedulePoke } from '../schedules/schedule-poke.js';
import { type RunningTask, RunningTasks } from '../execution/running-tasks.js';
import { canceledAmong } from '../store/canceled-tasks.js';
import { ExitRunner } from '../syncer/exit-runner.js';
import { AttemptAborts } from './attempt-aborts.js';

const CHANNEL = 'cancel';

/** A job whose attempts are to stop. */
export interface EndedJob {
  jobId: string;
  generation: number;
}

/** Tells all processes that the attempts of a job are to stop. A hint: the row is written, and the heartbeat reads it. */
@Injectable()
export class CancelBus {
  constructor(private readonly redis: Redis) {}

  publish(job: EndedJob): Promise<void> {
    return this.redis.publish(CHANNEL, job);
  }
}

/**
 * Stops attempts of this process when the bus says so and the rows agree: whoever can write to Redis can say so. What
 * cannot be looked up now, the heartbeat tells.
 */
@Injectable()
export class CancelListener {
  private readonly doubted = new Set<RunningTask>();
  private looking = false;

  constructor(
    private readonly redis: Redis,
    private readonly database: Database,
    private readonly running: RunningTasks,
    private readonly aborts: AttemptAborts,
    private readonly exits: ExitRunner,
    private readonly schedules: SchedulePoke,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  start(): Promise<void> {
    this.running.onNamed = (attempts) => void this.look(attempts);
    return this.redis.subscribe(CHANNEL, ({ jobId, generation }) => {
      if (typeof jobId !== 'string' || typeof generation !== 'number') return;
      this.running.name({ jobId, generation });
      this.exits.poke();
      this.schedules.jobEnded();
    });
  }

  /** One question at a time, however many messages come. */
  private async look(attempts: RunningTask[]): Promise<void> {
    for (const attempt of attempts) this.doubted.add(attempt);
    if (this.looking) return;
    this.looking = true;
    try {
      while (this.doubted.size > 0) {
        const now = [...this.doubted];
        this.doubted.clear();
        const ids = now.map(({ task }) => task.taskId);
        const canceled = await canceledAmong(this.database.hot, ids);
        for (const attempt of now) {
          if (canceled.has(attempt.task.taskId)) this.aborts.abort(attempt, 'canceled');
        }
      }
    } catch (error) {
      this.logger.warn({ reason: (error as Error).message }, 'a cancel could not be looked up');
    } finally {
      this.looking = false;
    }
  }
}
