import 'reflect-metadata';
import { LonghaulModule } from '@app/engine/longhaul.module.js';
import { discoverJobTypes } from '@app/engine/registry/discover-job-types.js';
import { serveSandbox } from '@app/engine/sandbox/serve-sandbox.js';
import { loadConfig } from '@app/platform/config/config.js';
import { ConfigModule } from '@app/platform/config/config.module.js';
import { logRulesOf } from '@app/platform/config/log-rules.js';
import { createLogger } from '@app/platform/observability/logger.js';
import { ObservabilityModule } from '@app/platform/observability/observability.module.js';

// The service as apps/service boots it, with the job types of this folder in the place of its own.
const config = loadConfig();
const logger = createLogger(config.LOG_LEVEL, { role: config.SERVICE_TYPE }, undefined, logRulesOf(config));
// Who started it holds the other end, and may have been killed.
if (!config.sandboxed) process.stdin.once('close', () => process.exit(1)).resume();
try {
  const jobTypes = await discoverJobTypes(new URL('./job-types/', import.meta.url));
  if (config.sandboxed) {
    const longhaul = LonghaulModule.forRoot({ jobTypes, executes: true });
    const imports = [ConfigModule.forRoot(config), ObservabilityModule.forRoot(logger), longhaul];
    await serveSandbox({ module: class SandboxModule {}, imports });
  }
  const { startService } = await import('./start-service.js');
  await startService(config, logger, jobTypes);
} catch (error) {
  logger.fatal({ err: error }, `longhaul cannot start: ${(error as Error).message}`);
  process.exit(1);
}
