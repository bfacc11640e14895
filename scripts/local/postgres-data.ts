import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { PostgresBinaries } from './postgres-binaries.js';
import { isAlive, isOurs } from './processes.js';
import { assertOwned, type Launcher } from './run-as.js';
import { LocalStackError, type Log } from './types.js';

const run = promisify(execFile);

/** The paths inside a Postgres folder of ours. */
export function postgresPaths(dir: string) {
  return { data: join(dir, 'data'), password: join(dir, 'password'), log: join(dir, 'postgres.log') };
}

/** Makes the data folder ready to be started: initialises it once, and clears what a crash has left. */
export async function prepareData(
  dir: string,
  binaries: PostgresBinaries,
  as: Launcher,
  { durable, log }: { durable: boolean; log?: Log },
): Promise<string> {
  const { data, password } = postgresPaths(dir);
  if (!existsSync(data)) {
    log?.('Initialising a new Postgres data folder.');
    await initialise(dir, binaries, as, durable ? [] : ['--no-sync']);
  }
  await assertOwned(data, as);
  await refuseOtherMajor(data, binaries, as);
  await clearReusedPid(data);
  const secret = await readFile(password, 'utf8').catch(() => '');
  if (!secret)
    throw new LocalStackError(`${password} is missing: delete ${dir} to begin with an empty database.`);
  return secret;
}

/** The id of the server that runs on this folder, if one does. */
export async function runningPostgres(dir: string): Promise<number | undefined> {
  const { data } = postgresPaths(dir);
  const pid = await recordedPid(data);
  return pid && (await isOurs(pid, ['postgres', data])) ? pid : undefined;
}

/** Initialises beside the final place and renames: a run that was cut leaves nothing that looks complete. */
async function initialise(
  dir: string,
  binaries: PostgresBinaries,
  as: Launcher,
  more: string[],
): Promise<void> {
  const paths = postgresPaths(dir);
  const [fresh, passwordFile] = [`${paths.data}.new`, join(dir, 'password.new')];
  const secret = randomBytes(18).toString('hex');
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  await rm(passwordFile, { force: true });
  await writeFile(passwordFile, secret, { mode: 0o600 });
  await Promise.all([as.own(fresh), as.own(passwordFile)]);
  const args = ['-D', fresh, '-U', 'postgres', '--encoding=UTF8', '--locale=C', '--auth=scram-sha-256'];
  const [file, rest] = as.command(binaries.initdb, [
    ...args,
    `--pwfile=${passwordFile}`,
    '--no-instructions',
    ...more,
  ]);
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };
  await run(file, rest, { ...as.user, env, cwd: '/' }).catch((error: Error & { stderr?: string }) => {
    throw new LocalStackError(
      `Postgres could not be initialised: ${lastLine(error.stderr) || error.message}`,
    );
  });
  await unlink(passwordFile);
  await rm(paths.password, { force: true });
  await writeFile(paths.password, secret, { mode: 0o600 });
  await rename(fresh, paths.data);
}

async function refuseOtherMajor(data: string, binaries: PostgresBinaries, as: Launcher): Promise<void> {
  const have = (await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => '')).trim();
  if (!have) throw new LocalStackError(`${data} is not a Postgres data folder: move it away to begin anew.`);
  const [file, args] = as.command(binaries.postgres, ['--version']);
  const { stdout } = await run(file, args, { ...as.user, cwd: '/' });
  const want = /(\d+)(?:\.|\w|$)/.exec(stdout)?.[1];
  if (have !== want) {
    throw new LocalStackError(
      `${data} was made by Postgres ${have} and the installed one is ${want}: dump it with the old one, or move the folder away.`,
    );
  }
}

/**
 * Postgres clears a pid file of a dead process itself (and looks whether backends survive). It refuses when the
 * number now belongs to another program, so only that case is ours.
 */
async function clearReusedPid(data: string): Promise<void> {
  const pid = await recordedPid(data);
  if (!pid || !(await isAlive(pid))) return;
  if (await isOurs(pid, ['postgres', data])) {
    throw new LocalStackError(`A Postgres (process ${pid}) already runs on ${data}.`);
  }
  await unlink(join(data, 'postmaster.pid'));
}

async function recordedPid(data: string): Promise<number | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  return pid > 0 ? pid : undefined;
}

function lastLine(text = ''): string {
  return text.trim().split('\n').at(-1) ?? '';
}
