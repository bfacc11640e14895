import { BullModule, getQueueToken } from '@nestjs/bullmq';
import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import type { Queue } from 'bullmq';
import type { JobTypeClass } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { isSandbox } from '@app/platform/config/sandbox-environment.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { DatabaseModule } from '@app/platform/prisma/database.module.js';
import { Outbound } from '@app/platform/outbound/outbound.js';
import { Redis } from '@app/platform/redis/redis.js';
import { RedisModule } from '@app/platform/redis/redis.module.js';
import { AttemptAborts } from './cancellation/attempt-aborts.js';
import { CancelBus, CancelListener } from './cancellation/cancel-bus.js';
import { AttemptEnd } from './execution/attempt-end.js';
import { CrowdedTasks } from './execution/crowded-tasks.js';
import { EngineHealth } from './execution/engine-health.js';
import { EngineMetrics } from './execution/engine-metrics.js';
import { Heartbeat } from './execution/heartbeat.js';
import { PlanRunner } from './execution/plan-runner.js';
import { ProgressFlusher } from './execution/progress-flusher.js';
import { RunningTasks } from './execution/running-tasks.js';
import { TaskExecutor } from './execution/task-executor.js';
import { TaskRuntime } from './execution/task-runtime.js';
import { TaskWrites } from './execution/task-writes.js';
import { WorkerIdentity } from './execution/worker-identity.js';
import { Explainer } from './explain.js';
import { Jobs } from './jobs.js';
import { LiveFeed } from './live/live-feed.js';
import { LiveKey } from './live/live-key.js';
import { LivePoke } from './live/live-poke.js';
import { LiveUpdates } from './live/live-updates.js';
import { NoticeMetrics } from './notifications/notice-metrics.js';
import { Notifier } from './notifications/notifier.js';
import { Webhooks } from './notifications/webhooks.js';
import { Pauses } from './pauses.js';
import { Quotas } from './quotas.js';
import { Admission } from './queue/admission.js';
import { AdmissionPoke } from './queue/admission-poke.js';
import { QueueRoom } from './queue/queue-room.js';
import { Sweeper } from './queue/sweeper.js';
import { TaskConsumer } from './queue/task-consumer.js';
import { QUEUES, TaskSender } from './queue/task-sender.js';
import { JOB_TYPES, JobTypeRegistry, queuesOf } from './registry/job-type-registry.js';
import type { SandboxOptions } from './sandbox/sandbox-process.js';
import { SandboxedTask } from './sandbox/sandboxed-task.js';
import { SANDBOX, Sandboxes } from './sandbox/sandboxes.js';
import { Schedules } from './schedules.js';
import { DeclaredCrons } from './schedules/declared-crons.js';
import { ScheduleMetrics } from './schedules/schedule-metrics.js';
import { SchedulePoke } from './schedules/schedule-poke.js';
import { SlotJobs } from './schedules/slot-jobs.js';
import { Ticker } from './schedules/ticker.js';
import { JobQueries } from './store/job-queries.js';
import { Workers } from './workers.js';
import { catalogProvider } from './syncer/catalog.provider.js';
import { ExitRunner } from './syncer/exit-runner.js';
import { FinalizePoke } from './syncer/finalize-poke.js';
import { Finalizer } from './syncer/finalizer.js';
import { JobRepairs } from './syncer/job-repairs.js';
import { Syncer } from './syncer/syncer.js';

/** How an application uses the engine. */
export interface LonghaulOptions {
  /** The classes with `@JobType`; see `discoverJobTypes`. */
  jobTypes: JobTypeClass[];
  /** Whether this process executes tasks, or only submits, reads and cancels jobs. */
  executes: boolean;
  /** Modules whose providers the job types inject. */
  imports?: ModuleMetadata['imports'];
  /**
   * How a process is started that runs one task alone (`sandbox: true`, and whatever ran when a worker died). Default:
   * with the file that this process was started with. That file calls `serveSandbox` where `isSandbox()`.
   */
  sandbox?: SandboxOptions;
}

/** What only a process needs that executes tasks. */
const EXECUTION = [
  EngineMetrics,
  EngineHealth,
  WorkerIdentity,
  RunningTasks,
  ExitRunner,
  AttemptAborts,
  CancelListener,
  TaskWrites,
  Heartbeat,
  ProgressFlusher,
  PlanRunner,
  Sandboxes,
  CrowdedTasks,
  AttemptEnd,
  TaskExecutor,
  TaskConsumer,
  Admission,
  Sweeper,
  FinalizePoke,
  catalogProvider,
  Finalizer,
  JobRepairs,
  Syncer,
  ScheduleMetrics,
  DeclaredCrons,
  Ticker,
  NoticeMetrics,
  Notifier,
  TaskRuntime,
];

/** The engine: long background jobs on Postgres, Redis and BullMQ. Wants ConfigModule and ObservabilityModule. */
@Module({})
export class LonghaulModule {
  static forRoot({ jobTypes, executes, imports = [], sandbox = {} }: LonghaulOptions): DynamicModule {
    const names = queuesOf(jobTypes);
    // A process that runs one task for a worker has the job types and whatever they inject, and none of the rest.
    const sandboxed = isSandbox();
    const works = executes && !sandboxed;
    return {
      module: LonghaulModule,
      imports: [
        DatabaseModule,
        RedisModule,
        BullModule.forRootAsync({
          inject: [Redis, CONFIG],
          useFactory: (redis: Redis, config: Config) => ({
            connection: redis.producer(),
            prefix: config.REDIS_PREFIX,
          }),
        }),
        BullModule.registerQueue(...names.map((name) => ({ name }))),
        ...(works ? [ScheduleModule.forRoot()] : []),
        ...imports,
      ],
      providers: [
        { provide: JOB_TYPES, useValue: jobTypes },
        {
          provide: QUEUES,
          inject: [LOGGER, ...names.map((name) => getQueueToken(name))],
          useFactory: (logger: Logger, ...queues: Queue[]) => {
            for (const queue of queues) {
              queue.on('error', ({ message }) =>
                logger.debug({ queue: queue.name, reason: message }, 'a queue failed'),
              );
            }
            return new Map(queues.map((queue) => [queue.name, queue]));
          },
        },
        JobTypeRegistry,
        JobQueries,
        TaskSender,
        QueueRoom,
        AdmissionPoke,
        CancelBus,
        LivePoke,
        LiveKey,
        LiveFeed,
        LiveUpdates,
        Quotas,
        Jobs,
        Explainer,
        Pauses,
        SlotJobs,
        SchedulePoke,
        Schedules,
        Workers,
        Outbound,
        Webhooks,
        ...(works ? [...EXECUTION, { provide: SANDBOX, useValue: sandbox }] : []),
        ...(sandboxed ? [SandboxedTask] : []),
        ...(works || sandboxed ? jobTypes : []),
      ],
      exports: [
        Jobs,
        LiveUpdates,
        Explainer,
        Pauses,
        Schedules,
        Webhooks,
        Workers,
        JobTypeRegistry,
        ...(works ? [EngineHealth] : []),
      ],
    };
  }
}
