import { boot } from '../../apps/service/src/boot.js';
import { loadConfig } from '@app/platform/config/config.js';
import { createLogger } from '@app/platform/observability/logger.js';

// Boots the service, says which routes it serves, and ends.
const app = await boot(loadConfig(), createLogger('fatal'));
process.stdout.write(app.getHttpAdapter().getInstance().printRoutes({ commonPrefix: false }));
await app.close();
