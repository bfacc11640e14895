import { Worker } from 'node:worker_threads';
import type { DynamicModule, LoggerService, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SandboxedTask } from './sandboxed-task.js';
import { WorkerChannel } from './worker-channel.js';

/** Milliseconds between two looks whether the worker is still there. */
const LOOK_MS = 1000;

/**
 * Runs one task for the worker that has started this process, with the job types of a module, and ends the process. To
 * be called where `isSandbox()`, in place of everything else that the process would do. Never settles.
 * @param module holds `LonghaulModule.forRoot(...)`
 */
export async function serveSandbox(module: Type | DynamicModule, logger?: LoggerService): Promise<never> {
  const worker = new WorkerChannel();
  watchWorker();
  const booted = await boot(module, logger).catch(async (error: Error) => {
    await worker.send({ kind: 'unbootable', message: error.message });
    process.exit(1);
  });
  await booted.task.serve(worker);
  await booted.app.close().catch(() => {});
  process.exit(0);
}

async function boot(module: Type | DynamicModule, logger: LoggerService | undefined) {
  const app = await NestFactory.createApplicationContext(module, {
    abortOnError: false,
    logger: logger ?? ['error', 'fatal'],
  });
  return { app, task: app.get(SandboxedTask, { strict: false }) };
}

/**
 * Ends this process when the worker is gone, from a thread of its own: a handler that holds the main one would never
 * hear of it.
 */
function watchWorker(): void {
  const look = `setInterval(() => process.ppid === ${process.ppid} || process.kill(process.pid, 'SIGKILL'), ${LOOK_MS})`;
  new Worker(look, { eval: true, execArgv: [], stdin: false }).unref();
}
