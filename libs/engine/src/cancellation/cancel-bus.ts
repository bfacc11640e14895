import { Injectable } from '@nestjs/common';
import { Redis } from '@app/platform/redis/redis.js';
import { RunningTasks } from '../execution/running-tasks.js';
import { SchedulePoke } from '../schedules/schedule-poke.js';
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

/** Stops attempts of this process when the bus says so. */
@Injectable()
export class CancelListener {
  constructor(
    private readonly redis: Redis,
    private readonly running: RunningTasks,
    private readonly aborts: AttemptAborts,
    private readonly exits: ExitRunner,
    private readonly schedules: SchedulePoke,
  ) {}

  start(): Promise<void> {
    return this.redis.subscribe(CHANNEL, ({ jobId, generation }) => {
      if (typeof jobId !== 'string' || typeof generation !== 'number') return;
      for (const attempt of this.running.ofCanceledJob({ jobId, generation }))
        this.aborts.abort(attempt, 'canceled');
      this.exits.poke();
      this.schedules.jobEnded();
    });
  }
}
