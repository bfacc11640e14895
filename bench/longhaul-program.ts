import 'reflect-metadata';
import { setTimeout as delay } from 'node:timers/promises';
import { JobType } from '@app/core';
import { Jobs } from '@app/engine/jobs.js';
import { LonghaulModule } from '@app/engine/longhaul.module.js';
import { ConfigModule } from '@app/platform/config/config.module.js';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { ObservabilityModule } from '@app/platform/observability/observability.module.js';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Queue } from 'bullmq';
import { Client } from 'pg';
import { z } from 'zod';
import { answer, Counter, inFlight } from './program.js';

// The engine as an application has it: a worker whose tasks do nothing, or a process that only submits.
const [role, databaseUrl = '', redisUrl = '', prefix = ''] = process.argv.slice(2);
const OWNER = { ownerId: 'bench', actor: 'key:bench' };
const OPEN = 'SELECT FROM jobs WHERE finished_at IS NULL LIMIT 1';
const SETTLED = `UPDATE dispatch SET look_again_at = clock_timestamp() + interval '1 minute' WHERE gate IS DISTINCT FROM 'held'`;

const ran = new Counter();

@JobType({ name: 'bench.nothing', payload: z.strictObject({}).prefault({}) })
class Nothing {
  async run(): Promise<void> {
    ran.add();
  }
}

const commands = {
  /** Submits jobs of so many tasks each; answers the milliseconds that it took. */
  submit: ({ jobs: count, tasks, lanes }: { jobs: number; tasks: number; lanes: number }) => {
    const input = tasks === 1 ? { type: 'bench.nothing' } : { type: 'bench.nothing', numTask: tasks };
    return inFlight(count, lanes, () => jobs.submit(input, OWNER));
  },
  /** Lets the worker take nothing any more. */
  pause: () => queue.pause(),
  /** Lets the worker take what is there; answers the milliseconds until the end of the last job can be read. */
  drain: async ({ tasks }: { tasks: number }) => {
    // As many messages as there are slots wait in Redis; the others are admitted while the queue is emptied.
    while ((await queue.getWaitingCount()) < Math.min(tasks, config.MAX_CONCURRENT_TASKS)) await delay(5);
    // They were sent a moment ago and wait for us, not for the sweeper, which would look at them after 2 s.
    await client.query(SETTLED);
    const done = ran.until(tasks);
    const begun = performance.now();
    await queue.resume();
    await done;
    while ((await client.query(OPEN)).rowCount !== 0) await delay(1);
    const took = performance.now() - begun;
    if (ran.total !== tasks) throw new Error(`${ran.total} tasks ran where ${tasks} were submitted.`);
    return took;
  },
};
export type LonghaulCommands = typeof commands;

const config = loadConfig({
  SERVICE_TYPE: role === 'worker' ? 'task-worker' : 'api',
  DATABASE_URL: databaseUrl,
  REDIS_URL: redisUrl,
  REDIS_PREFIX: prefix,
  CATALOG_URL: 'http://127.0.0.1:9',
  MAX_CONCURRENT_TASKS: '100',
  LOG_LEVEL: 'warn',
});

@Module({
  imports: [
    ConfigModule.forRoot(config),
    ObservabilityModule.forRoot(createLogger(config.LOG_LEVEL)),
    LonghaulModule.forRoot({ jobTypes: [Nothing], executes: config.runsTasks }),
  ],
})
class BenchApplication {}

const app = await NestFactory.createApplicationContext(BenchApplication, { logger: ['error', 'fatal'] });
const jobs = app.get(Jobs);
const client = new Client({ connectionString: databaseUrl });
await client.connect();
const queue = new Queue('default', { connection: { url: redisUrl, maxRetriesPerRequest: null }, prefix });
answer(commands, async () => {
  await app.close();
  await queue.close();
  await client.end();
});
