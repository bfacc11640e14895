import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { serveSandbox } from '@app/engine/sandbox/serve-sandbox.js';
import { LonghaulModule } from '@app/engine/longhaul.module.js';
import { loadConfig } from '@app/platform/config/config.js';
import { ConfigModule } from '@app/platform/config/config.module.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { ObservabilityModule } from '@app/platform/observability/observability.module.js';
import { JOB_TYPES } from './sandboxed-types.js';

// What the processes start with that the engine of a test starts.
const config = loadConfig();

@Module({
  imports: [
    ConfigModule.forRoot(config),
    ObservabilityModule.forRoot(createLogger(config.LOG_LEVEL)),
    LonghaulModule.forRoot({ jobTypes: JOB_TYPES, executes: true }),
  ],
})
class SandboxApplication {}

await serveSandbox(SandboxApplication);
