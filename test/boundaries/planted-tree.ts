/** Files that keep every rule, at the very places where a rule makes an exception. */
export const CLEAN: Record<string, string> = {
  'libs/core/src/index.ts': `export * from './job/job.js';`,
  'libs/core/src/job/job.ts': `import { z } from 'zod'; export const job = z;`,
  'libs/core/src/job/job.spec.ts': `import { expect } from '@jest/globals'; import './job.js'; expect(1);`,
  'libs/platform/src/config/config.ts': `import { z } from 'zod'; import 'node:path'; export const config = z;`,
  'libs/platform/src/redis/redis.ts': `import { Redis } from 'ioredis'; export const redis = Redis;`,
  'libs/platform/src/prisma/generated/client.ts': `import '@prisma/client'; import './models.js'; export const c = 1;`,
  'libs/platform/src/prisma/generated/models.ts': `import './client.js'; export const m = 1;`,
  'libs/platform/src/prisma/database.ts': `import { c } from './generated/client.js'; import 'pg'; export const d = c;`,
  'libs/engine/src/store/claim.ts': `import { c } from '@app/platform/prisma/generated/client.js'; export const s = c;`,
  'libs/engine/src/queue/job-queue.ts': `import { Queue } from 'bullmq'; import { job } from '@app/core'; export const q = [Queue, job];`,
  'libs/engine/src/longhaul.module.ts': `import '@nestjs/bullmq'; import '@app/platform/redis/redis.js'; export const l = 1;`,
  'apps/service/src/job-types/demo.job.ts': `import { job } from '@app/core'; import '@app/platform/config/config.js'; export const j = job;`,
  'apps/service/src/api/jobs/jobs.controller.ts': `import { q } from '@app/engine/queue/job-queue.js'; import type { D } from 'dev-tool'; export const a: D = q;`,
  'apps/service/src/main.ts': `import './job-types/demo.job.js'; import './api/jobs/jobs.controller.js';`,
  'test/support/fixtures.ts': `export const fixture = 1;`,
  'package.json': JSON.stringify({
    type: 'module',
    dependencies: Object.fromEntries(
      ['zod', 'ioredis', 'bullmq', '@nestjs/bullmq', '@nestjs/common', '@prisma/client', 'pg'].map((name) => [
        name,
        '1',
      ]),
    ),
    devDependencies: { '@jest/globals': '1', 'dev-tool': '1' },
  }),
};

/** The packages that the tree's files import. Their code is below `dist`, as that of many real packages is. */
export const PACKAGES = [
  'zod',
  'ioredis',
  'bullmq',
  '@nestjs/bullmq',
  '@nestjs/common',
  '@prisma/client',
  'pg',
  '@jest/globals',
  'dev-tool',
  'by-luck',
];

/** One file that breaks exactly the rules that it names. A cycle is reported for one of its files. */
export interface Plant {
  file: string;
  source: string;
  rules: string[];
}

const plant = (file: string, source: string, ...rules: string[]): Plant => ({ file, source, rules });

export const PLANTS: Plant[] = [
  plant(
    'libs/engine/src/syncer/one.ts',
    `import { two } from './two.js'; export const one = two;`,
    'no-cycles',
  ),
  plant('libs/engine/src/syncer/two.ts', `import { type one } from './one.js'; export let two: one;`),

  plant('libs/core/src/job/leaf.ts', `import '@app/platform/config/config.js';`, 'core-is-a-leaf'),
  plant('libs/core/src/job/nest.ts', `import '@nestjs/common';`, 'core-is-pure'),
  plant('libs/core/src/job/disk.ts', `import 'node:fs/promises';`, 'core-is-pure'),
  plant(
    'libs/core/src/job/net.ts',
    `import type { Socket } from 'net'; export type S = Socket;`,
    'core-is-pure',
  ),

  plant('libs/platform/src/redis/core.ts', `import '@app/core';`, 'platform-knows-no-job'),
  plant(
    'libs/platform/src/redis/engine.ts',
    `import '../../../engine/src/store/claim.js';`,
    'platform-knows-no-job',
  ),
  plant(
    'libs/platform/src/redis/app.ts',
    `import '../../../../apps/service/src/main.js';`,
    'platform-knows-no-job',
  ),
  plant(
    'libs/engine/src/live/app.ts',
    `import '../../../../apps/service/src/main.js';`,
    'engine-never-imports-apps',
  ),

  plant(
    'libs/engine/src/syncer/sql.ts',
    `import type { P } from '@prisma/client'; export type Q = P;`,
    'prisma-only-in-stores',
  ),
  plant(
    'libs/engine/src/syncer/client.ts',
    `import '@app/platform/prisma/generated/client.js';`,
    'prisma-only-in-stores',
  ),
  plant(
    'apps/service/src/pg.ts',
    `const pg = await import('pg'); export const p = pg;`,
    'prisma-only-in-stores',
  ),
  plant('libs/engine/src/execution/queue.ts', `import 'bullmq';`, 'bullmq-only-in-engine-queue'),
  plant('apps/service/src/queue.ts', `import '@nestjs/bullmq';`, 'bullmq-only-in-engine-queue'),
  plant(
    'libs/engine/src/queue/redis.ts',
    `export { Redis } from 'ioredis';`,
    'ioredis-only-in-platform-redis',
  ),

  plant(
    'apps/service/src/job-types/engine.job.ts',
    `import '@app/engine/queue/job-queue.js';`,
    'job-types-see-only-core-and-platform',
  ),
  plant(
    'apps/service/src/job-types/api.job.ts',
    `import '../api/jobs/jobs.controller.js';`,
    'job-types-see-only-core-and-platform',
  ),
  plant(
    'apps/service/src/api/jobs/demo.ts',
    `import '../../job-types/demo.job.js';`,
    'api-knows-no-job-types',
  ),

  plant('libs/engine/src/store/index.ts', `export * from './claim.js';`, 'no-barrels'),
  plant('libs/core/src/job/index.ts', ``, 'no-barrels'),
  plant('apps/service/src/api/shared/a.ts', ``, 'no-junk-drawers'),
  plant('libs/engine/src/common/a.ts', ``, 'no-junk-drawers'),
  plant('libs/platform/src/redis/utils/a.ts', ``, 'no-junk-drawers'),
  plant('libs/core/src/helpers/a.ts', ``, 'no-junk-drawers'),

  plant(
    'libs/engine/src/live/fixture.ts',
    `import '../../../../test/support/fixtures.js';`,
    'no-test-code-in-production',
  ),
  plant('libs/core/src/job/spec.ts', `import './job.spec.js';`, 'no-test-code-in-production'),
  plant('apps/service/src/dev.ts', `import 'dev-tool';`, 'not-to-dev-dep'),
  plant('apps/service/src/luck.ts', `import 'by-luck';`, 'not-to-unlisted'),
  plant('apps/service/src/nothing.ts', `import './not-there.js';`, 'not-to-unresolvable'),
];
