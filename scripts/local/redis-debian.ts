import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Log } from './types.js';

const run = promisify(execFile);

/** What Debian 12 needs beside its base; used when apt cannot work it out. */
const usual = 'redis-server redis-tools libjemalloc2 liblzf1 liblua5.1-0 lua-cjson lua-bitop'.split(' ');

/**
 * Puts Debian's Redis into a folder of ours, without root and without touching the system: apt works on lists and
 * caches of its own, and the packages are only unpacked. Answers why it could not, or undefined.
 */
export async function extractRedis(
  target: string,
  log?: Log,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get') || !existsSync('/usr/bin/dpkg-deb')) {
    return undefined;
  }
  log?.('Fetching a Redis from Debian into .longhaul (once; nothing is installed).');
  let work: string | undefined;
  try {
    await mkdir(dirname(target), { recursive: true });
    work = await mkdtemp(join(dirname(target), 'redis-new-'));
    await fetchInto(work, signal);
    // Whole or not at all: another start may look, or do the same, at this moment.
    await rename(join(work, 'root'), target).catch((error: NodeJS.ErrnoException) => {
      if (!existsSync(target)) throw error;
    });
    return undefined;
  } catch (error) {
    return firstLine(error);
  } finally {
    if (work) await rm(work, { recursive: true, force: true });
  }
}

async function fetchInto(work: string, signal?: AbortSignal): Promise<void> {
  const [lists, cache, packages, root] = ['lists', 'cache', 'packages', 'root'].map((name) =>
    join(work, name),
  ) as [string, string, string, string];
  for (const folder of [join(lists, 'partial'), join(cache, 'archives/partial'), packages, root]) {
    await mkdir(folder, { recursive: true });
  }
  // mkdtemp's 0700 must not stay: root runs the server as another user.
  await chmod(root, 0o755);
  const own = [`Dir::State::lists=${lists}`, `Dir::Cache=${cache}`, 'Debug::NoLocking=1'];
  // Root's apt would drop to a user that cannot write here.
  if (process.getuid?.() === 0) own.push('APT::Sandbox::User=root');
  const options = own.flatMap((option) => ['-o', option]);
  const apt = (args: string[]) =>
    run('apt-get', [...options, ...args], {
      cwd: packages,
      timeout: 180_000,
      signal,
      env: { ...process.env, LC_ALL: 'C' },
    });
  await apt(['-qq', 'update']);
  const simulated = await apt(['-s', '--no-install-recommends', 'install', 'redis-server']).catch(() => ({
    stdout: '',
  }));
  signal?.throwIfAborted();
  const wanted = [...simulated.stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name ?? '');
  await apt(['-qq', 'download', ...(wanted.includes('redis-server') ? wanted : usual)]);
  for (const file of await readdir(packages)) await run('dpkg-deb', ['-x', join(packages, file), root]);
}

function firstLine(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  const text = (stderr?.trim() || message).split('\n')[0] ?? '';
  return text.replace(/^E: /, '').replace(/\.$/, '');
}
