import { execFile, type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { dockerStages, type Instruction, REPOSITORY } from '../deploy/deploy-files.js';
import { absentDatabase, type TestDatabase } from '../support/database.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment } from '../support/service.js';

// The image, as far as it can be made without a Docker engine: the stages' files, copied and built as the Dockerfile
// says, and then run with production packages only.
const run = promisify(execFile);
const { NODE_OPTIONS: _jest, ...env } = process.env;
let folder: string;
let image: string;
let database: TestDatabase;
let service: ChildProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-image-'));
  const [build = [], packages = [], final = []] = dockerStages();
  const built = join(folder, 'build');
  image = join(folder, 'image');
  await copyAll(build, built);
  await symlink(join(REPOSITORY, 'node_modules'), join(built, 'node_modules'));
  await copyAll(packages, image);
  await copyAll(final, image);
  await Promise.all([
    npm(built, ['run', 'build']).then(() =>
      cp(join(built, 'dist'), join(image, 'dist'), { recursive: true }),
    ),
    npm(image, ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--prefer-offline']),
  ]);
  database = absentDatabase();
}, 600_000);
afterAll(async () => {
  service?.kill('SIGKILL');
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

const npm = (cwd: string, args: string[]) => run('npm', args, { cwd, env, maxBuffer: 10e6 });

/** A program of the image, to be run with only these settings. */
const program = (file: string, args: string[], settings: Record<string, string>) =>
  [
    process.execPath,
    [join(image, file), ...args],
    { cwd: image, env: { PATH: env['PATH'], ...settings } },
  ] as const;

async function copyAll(stage: Instruction[], into: string): Promise<void> {
  await mkdir(into, { recursive: true });
  for (const { name, args } of stage) {
    if (name !== 'COPY' || args.includes('--from=')) continue;
    const [target = '', ...sources] = args.split(/\s+/).toReversed();
    for (const source of sources) {
      const to = target.endsWith('/') ? join(into, target, source) : join(into, target);
      await mkdir(dirname(to), { recursive: true });
      await cp(join(REPOSITORY, source), to, {
        recursive: true,
        filter: (path) => !/\/(node_modules|generated)$/.test(path),
      });
    }
  }
}

test('migrates a database and serves, with production packages only', async () => {
  const migrated = await run(
    ...program('dist/apps/cli/src/main.js', ['migrate'], { DATABASE_URL: database.url }),
  );
  expect(migrated.stdout).toContain('20261125000000_first');

  const settings = serviceEnvironment(database.url, testRedis());
  service = spawn(...program('dist/apps/service/src/main.js', [], settings));
  const log: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    for (const output of [service?.stdout, service?.stderr]) {
      if (!output) continue;
      createInterface({ input: output }).on('line', (line) => {
        log.push(line);
        const up = /"url":"([^"]+)","msg":"longhaul is up"/.exec(line)?.[1];
        if (up) resolve(up);
      });
    }
    service?.once('exit', () => reject(new Error(log.join('\n'))));
  });
  expect(await (await fetch(`${url}/health/ready`)).json()).toMatchObject({ status: 'ok' });
  expect((await fetch(`${url}/docs`)).status).toBe(200);
  service.kill('SIGTERM');
  expect(await once(service, 'exit')).toEqual([0, null]);
}, 180_000);
