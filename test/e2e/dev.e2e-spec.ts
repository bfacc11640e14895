import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, symlink, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repositoryRoot } from '../../scripts/local/paths.js';
import { freePort } from '../../scripts/local/free-port.js';
import { hasEnded } from '../../scripts/local/processes.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';

// What `npm run dev` runs, on a copy of the code: a change must not reach the checkout that is being tested.
const DEV = ['--import', '@swc-node/register/esm-register', 'scripts/quickstart/main.ts', '--dev'];
const CODE = ['apps', 'libs', 'scripts', 'prisma', 'package.json', 'tsconfig.json', '.swcrc'];
const A_RUN_MS = 240_000;

let copy: string;
let database: TestDatabase;
let dev: ChildProcess | undefined;
let said = '';

beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), 'longhaul-dev-'));
  await Promise.all([
    ...CODE.map((name) => cp(join(repositoryRoot, name), join(copy, name), { recursive: true })),
    symlink(join(repositoryRoot, 'node_modules'), join(copy, 'node_modules')),
  ]);
  database = await createTestDatabase();
}, 120_000);
afterAll(async () => {
  if (dev && !hasEnded(dev)) {
    dev.kill('SIGTERM');
    await once(dev, 'exit');
  }
  await database?.drop();
  await rm(copy, { recursive: true, force: true });
});

async function startDev(): Promise<string> {
  const redis = testRedis();
  const port = await freePort();
  const env = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    PORT: String(port),
    LONGHAUL_DIR: join(copy, '.longhaul'),
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    REDIS_PREFIX: redis.prefix,
  };
  dev = spawn(process.execPath, DEV, { cwd: copy, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const output of [dev.stdout, dev.stderr])
    output?.setEncoding('utf8').on('data', (text: string) => (said += text));
  return `http://127.0.0.1:${port}`;
}

async function says(what: string | RegExp): Promise<void> {
  const seen = () => expect(said).toMatch(what);
  await eventually(() => (dev && hasEnded(dev)) || seen(), { timeout: A_RUN_MS });
  seen();
}

/** The surroundings of the service, where the system tells of processes that run on the copy. */
async function services(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const environments = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')),
  );
  return environments.filter((environment) => environment.includes(copy));
}

test(
  'the service under npm run dev starts again when its code changes, and Ctrl-C leaves nothing behind',
  async () => {
    const url = await startDev();
    await says('The service answers');
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    if (process.platform === 'linux') {
      const roots = (await services()).map((each) => /\0INGEST_ROOTS=([^\0]*)/.exec(`\0${each}`)?.[1]);
      // The quickstart itself has no such setting. What jobs may write is a folder of its own.
      expect(roots.toSorted()).toEqual([join(copy, '.longhaul/models'), undefined]);
    }

    // From here on the tour waits for a service that is away.
    await says(/files\.ingest .* active/);
    await utimes(join(copy, 'apps/service/src/boot.ts'), new Date(), new Date());
    await says('apps/service/src/boot.ts has changed: the service starts again.');
    await says('The service answers again.');
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);

    process.kill(-(dev?.pid ?? 0), 'SIGINT');
    expect(await once(dev as ChildProcess, 'close')).toEqual([null, 'SIGINT']);
    expect(said.trimEnd().split('\n').at(-1)).toBe('Stopping.');
    await expect(fetch(`${url}/health/live`)).rejects.toThrow('fetch failed');
    if (process.platform === 'linux') expect(await services()).toEqual([]);
  },
  A_RUN_MS,
);
