import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { INestApplicationContext } from '@nestjs/common';
import type { Job, JobTypeClass } from '@app/core';
import { type Config, loadConfig } from '@app/platform/config/config.js';
import { ConfigModule } from '@app/platform/config/config.module.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { ObservabilityModule } from '@app/platform/observability/observability.module.js';
import { Jobs } from '@app/engine/jobs.js';
import { LonghaulModule } from '@app/engine/longhaul.module.js';
import { eventually, type Patience } from './eventually.js';

/** Where an engine of a test runs and how. */
export interface EngineOptions {
  databaseUrl: string;
  redis: { url: string; prefix: string };
  jobTypes: JobTypeClass[];
  /** Default true: it executes tasks. */
  executes?: boolean;
  /** More settings, by the names of their variables. */
  env?: Record<string, string>;
  /** The file that a process starts with which runs a task alone. Without it no such process can start. */
  sandboxEntry?: string;
}

/** An engine in this process. */
export interface TestEngine {
  app: INestApplicationContext;
  jobs: Jobs;
  config: Config;
  /** Waits until a job of the owner has one of the states, by default a final one. */
  ended(jobId: string, statuses?: Job['status'][], patience?: Patience): Promise<Job>;
  stop(): Promise<void>;
}

/** Who the tests submit as. */
export const ALICE = { ownerId: 'alice', actor: 'key:test' };

/** Boots the engine as an application would, with short intervals. */
export async function startEngine(options: EngineOptions): Promise<TestEngine> {
  const executes = options.executes ?? true;
  const config = loadConfig({
    SERVICE_TYPE: executes ? 'task-worker' : 'api',
    DATABASE_URL: options.databaseUrl,
    REDIS_URL: options.redis.url,
    REDIS_PREFIX: options.redis.prefix,
    CATALOG_URL: 'http://127.0.0.1:9',
    // A machine that is busy with other things must not end one.
    LEASE: '10s',
    SWEEP_INTERVAL: '50ms',
    SYNC_CRON: '* * * * * *',
    MAX_CONCURRENT_TASKS: '4',
    SHUTDOWN_GRACE: '4s',
    LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'fatal',
    ...options.env,
  });
  const { jobTypes, sandboxEntry = '/no-sandbox.js' } = options;
  // Jest's own flags must not reach a child.
  const sandbox = { entry: sandboxEntry, execArgv: [] };
  @Module({
    imports: [
      ConfigModule.forRoot(config),
      ObservabilityModule.forRoot(createLogger(config.LOG_LEVEL)),
      LonghaulModule.forRoot({ jobTypes, executes, sandbox }),
    ],
  })
  class TestApplication {}
  const app = await NestFactory.createApplicationContext(TestApplication, { logger: ['error', 'fatal'] });
  const jobs = app.get(Jobs);
  return {
    app,
    jobs,
    config,
    ended: (jobId, statuses = ['completed', 'failed', 'canceled'], patience) =>
      eventually(async () => {
        const job = await jobs.find(ALICE.ownerId, jobId);
        if (!job || !statuses.includes(job.status))
          throw new Error(`Job ${jobId} is ${job?.status ?? 'absent'}.`);
        return job;
      }, patience),
    stop: () => app.close(),
  };
}
