import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { LonghaulModule } from '@app/engine/longhaul.module.js';
import { discoverJobTypes } from '@app/engine/registry/discover-job-types.js';
import { serveSandbox } from '@app/engine/sandbox/serve-sandbox.js';
import type { Config } from '@app/platform/config/config.js';
import { ConfigModule } from '@app/platform/config/config.module.js';
import { type Logger, NestLogger } from '@app/platform/observability/logger.js';
import { ObservabilityModule } from '@app/platform/observability/observability.module.js';

/** What the job types need, and nothing of HTTP: it is loaded for every task that runs alone. */
@Module({})
class SandboxModule {}

/** Runs one task for the worker that has started this process, and ends the process. */
export async function bootSandbox(config: Config, logger: Logger): Promise<never> {
  const jobTypes = await discoverJobTypes(new URL('./job-types/', import.meta.url));
  const imports = [
    ConfigModule.forRoot(config),
    ObservabilityModule.forRoot(logger),
    LonghaulModule.forRoot({ jobTypes, executes: true }),
  ];
  return serveSandbox({ module: SandboxModule, imports }, new NestLogger(logger));
}
