import { existsSync } from 'node:fs';
import { access, constants, readdir, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { extractRedis } from './redis-debian.js';
import { programsFolder } from './paths.js';
import { LocalStackError, type Log } from './types.js';

/** A Redis that can be run, and what its loader must be told. */
export interface RedisBinary {
  file: string;
  libraries?: string;
}

const names = ['redis-server', 'valkey-server'];
const extracted = join(programsFolder, 'redis');

/** Finds a Redis: on PATH, extracted by an earlier run, or (on Debian) extracted now; never installs anything. */
export async function redisBinary(log?: Log, signal?: AbortSignal): Promise<RedisBinary> {
  const installed = await onPath();
  if (installed) return { file: installed };
  const earlier = await inFolder(extracted);
  if (earlier) return earlier;
  const reason = await extractRedis(extracted, log, signal);
  const now = await inFolder(extracted);
  if (now) return now;
  throw new LocalStackError(
    `There is no Redis here${reason ? ` (${reason})` : ''}: install one ` +
      '(Debian: sudo apt-get install redis-server; macOS: brew install redis), or give a Redis URL.',
  );
}

async function onPath(): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  // Debian's server stands in /usr/bin, other systems' in sbin, which an ordinary user's PATH may lack.
  for (const folder of [...folders, '/usr/sbin', '/usr/local/sbin']) {
    for (const name of names) {
      const file = join(folder, name);
      const runs = await access(file, constants.X_OK).then(
        async () => (await stat(file)).isFile(),
        () => false,
      );
      if (runs) return file;
    }
  }
  return undefined;
}

async function inFolder(folder: string): Promise<RedisBinary | undefined> {
  const file = names.map((name) => join(folder, 'usr/bin', name)).find((path) => existsSync(path));
  if (!file) return undefined;
  const roots = ['usr/lib', 'lib'].map((part) => join(folder, part));
  const libraries = await Promise.all(roots.map(architectureFolders));
  return { file, libraries: libraries.flat().join(delimiter) };
}

async function architectureFolders(root: string): Promise<string[]> {
  const found = await readdir(root).catch(() => []);
  return found.filter((name) => name.includes('-linux-')).map((name) => join(root, name));
}
