/**
 * Who may import whom: apps → engine → { core, platform }. Core knows no framework and does no I/O, platform knows no
 * job, engine is where they meet. Only apps/ and libs/ are held to it; tests, scripts and bench may import anything.
 *
 * Each rule is proven by a planted violation in test/boundaries/boundaries.spec.ts.
 */

const PRODUCTION = '^(apps|libs)/';
const TESTS = '\\.(spec|int-spec|e2e-spec|sys-spec)\\.ts$';

/** Matches packages by name, wherever they are installed, and also when they are not. */
const packages = (...names) => `(^|node_modules/)(${names.join('|')})(/|$)`;

const BARREL = '(^|/)index\\.[cm]?[jt]sx?$';
const THE_ONE_BARREL = '^libs/core/src/index\\.ts$';
const DRAWER = '(^|/)(shared|common|utils?|helpers?)/';

/** A module that matches, whatever it imports and whoever imports it (100 importers is the most that can be said). */
const everyModule = (path, pathNot) => ({
  module: { path, ...(pathNot && { pathNot }), numberOfDependentsLessThan: 100 },
  from: {},
});

/** A folder that may import of our own code only what `allowed` matches. */
const layer = (name, comment, from, allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: TESTS },
  to: { path: PRODUCTION, pathNot: allowed },
});

/** Packages that only the files under `home` may import. */
const confined = (name, comment, home, target) => ({
  name,
  comment,
  severity: 'error',
  from: { path: PRODUCTION, pathNot: [home, TESTS] },
  to: { path: target },
});

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files of a cycle can only be understood, tested and loaded together.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    layer('core-is-a-leaf', 'Core knows nothing but itself.', '^libs/core/', '^libs/core/'),
    layer(
      'platform-knows-no-job',
      'Platform sees neither core nor engine.',
      '^libs/platform/',
      '^libs/platform/',
    ),
    layer(
      'engine-never-imports-apps',
      'Applications build on the engine, not the reverse.',
      '^libs/engine/',
      '^libs/(engine|platform|core)/',
    ),
    {
      name: 'core-is-pure',
      comment: 'Core decides; others read and write. It may use packages that only compute.',
      severity: 'error',
      from: { path: '^libs/core/', pathNot: TESTS },
      to: {
        dependencyTypesNot: ['local', 'aliased'],
        path: '.',
        pathNot: [
          packages('zod', 'uuid', 'croner', 'luxon', 'temporal-polyfill'),
          '^(node:)?(crypto|util|assert)$',
        ],
      },
    },
    confined(
      'prisma-only-in-stores',
      'SQL and its client live where their transactions can be reviewed.',
      '^libs/(engine/src/store|platform/src/prisma)/',
      `${packages('@prisma', 'prisma', 'pg', 'pg-[a-z-]+')}|(^|/)prisma/generated/`,
    ),
    confined(
      'bullmq-only-in-engine-queue',
      'Redis carries, Postgres decides: nobody else may take the queue for the truth.',
      '^libs/engine/src/(queue/|longhaul\\.module\\.ts$)',
      packages('bullmq', '@nestjs/bullmq', 'bullmq-[a-z]+'),
    ),
    confined(
      'ioredis-only-in-platform-redis',
      'Connections are opened, watched and closed in one place.',
      '^libs/platform/src/redis/',
      packages('ioredis', 'redis', '@redis'),
    ),
    layer(
      'job-types-see-only-core-and-platform',
      'A job type is one file that could live in anyone’s application.',
      '^apps/service/src/job-types/',
      '^(apps/service/src/job-types|libs/core|libs/platform)/',
    ),
    {
      name: 'api-knows-no-job-types',
      comment: 'The API learns of job types from the registry, so that it needs none of their code.',
      severity: 'error',
      from: { path: '^apps/service/src/api/' },
      to: { path: '^apps/service/src/job-types/' },
    },
    {
      name: 'no-barrels',
      comment: 'A barrel hides who uses what and makes cycles. Core has the only one.',
      severity: 'error',
      ...everyModule(`${PRODUCTION}.*${BARREL}`, THE_ONE_BARREL),
    },
    {
      name: 'no-junk-drawers',
      comment: 'A folder is named for what it is about.',
      severity: 'error',
      ...everyModule(`${PRODUCTION}.*${DRAWER}`),
    },
    {
      name: 'no-test-code-in-production',
      comment: 'What ships must not need what only tests have.',
      severity: 'error',
      from: { path: PRODUCTION, pathNot: TESTS },
      to: { path: ['^(test|bench|examples)/', TESTS, packages('@jest', 'jest', '@nestjs/testing')] },
    },
    {
      name: 'not-to-dev-dep',
      comment: 'A container has no devDependencies. Types alone may come from them.',
      severity: 'error',
      from: { path: PRODUCTION, pathNot: TESTS },
      to: {
        dependencyTypes: ['npm-dev'],
        dependencyTypesNot: ['type-only'],
        pathNot: 'node_modules/@types/',
      },
    },
    {
      name: 'not-to-unlisted',
      comment: 'A package that package.json does not name is there by luck.',
      severity: 'error',
      from: { path: PRODUCTION },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'not-to-unresolvable',
      comment:
        'A module that is not found escapes the other rules. Run `npx prisma generate` if it is the client.',
      severity: 'error',
      from: { path: PRODUCTION },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    // Prisma's output is checked as a target only: what it does within itself, cycles too, is not ours.
    doNotFollow: { path: ['node_modules', '^libs/platform/src/prisma/generated/'] },
    // Anchored: a bare 'dist' would also leave out node_modules/bullmq/dist, and with it the rules on packages.
    exclude: { path: '^(dist|coverage)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
