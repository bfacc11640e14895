import { type Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError } from '@app/core';
import { confinedFile } from './confined-path.js';
import { reading } from './file-failure.js';

/** The folder to walk, by its real path, and where its links may lead. */
interface Walk {
  source: string;
  roots: readonly string[];
  signal: AbortSignal;
}

/**
 * Yields the paths of all files below a folder, with slashes, in the same order each time. Links to files count as
 * files. It never holds more than the names of one folder and of those above it.
 * @throws {PermanentError} on a link that leads outside the roots, and on what cannot be copied: a link to a
 * folder (following it could go in circles), a pipe, a socket, a device, a name that is not UTF-8.
 */
export async function* walkFolder(walk: Walk, below = ''): AsyncGenerator<string, void, void> {
  walk.signal.throwIfAborted();
  const entries = await reading(below === '' ? 'The source' : `The folder ${below}`, () =>
    readdir(join(walk.source, below), { withFileTypes: true }),
  );
  for (const entry of entries.toSorted(byName)) {
    walk.signal.throwIfAborted();
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    // What Node puts in the place of bytes that are not UTF-8. The name cannot be turned back into them.
    if (entry.name.includes('\uFFFD')) {
      throw new PermanentError(`The name of the file ${path} is not UTF-8.`);
    }
    if (entry.isDirectory()) yield* walkFolder(walk, path);
    else {
      await mustBeFile(walk, path, entry);
      yield path;
    }
  }
}

async function mustBeFile({ source, roots }: Walk, path: string, entry: Dirent): Promise<void> {
  if (entry.isFile()) return;
  if (!entry.isSymbolicLink()) throw new PermanentError(`The file ${path} is not a regular file.`);
  const real = await confinedFile(source, path, roots);
  const found = await reading(`The file ${path}`, () => stat(real));
  if (found.isDirectory()) {
    throw new PermanentError(`The file ${path} is a link to a folder, which is not followed.`);
  }
  if (!found.isFile()) throw new PermanentError(`The file ${path} is not a regular file.`);
}

/** By code unit, and not by locale, so that every machine walks alike. */
function byName(one: Dirent, other: Dirent): number {
  return one.name < other.name ? -1 : 1;
}
