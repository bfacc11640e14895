import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { PermanentError } from '@app/core';
import { codeOf, reading, writing } from './file-failure.js';
import { isBelow } from './ingest-payload.js';

/**
 * The real paths of the folders that may be read and written. One that does not exist holds nothing.
 * @throws {PermanentError} when none is configured.
 */
export async function realRoots(roots: readonly string[]): Promise<string[]> {
  if (roots.length === 0) {
    throw new PermanentError('INGEST_ROOTS is not set, so that no folder may be read.');
  }
  const found: string[] = [];
  for (const root of roots) {
    const { real, exists } = await follow(root, `The folder ${root} of INGEST_ROOTS`);
    if (exists) found.push(real);
  }
  return found;
}

/**
 * The real paths of source and target.
 * @throws {PermanentError} unless both lie in a root, apart from each other, and the source is a folder.
 */
export async function confinedFolders(
  given: { source: string; target: string },
  roots: readonly string[],
): Promise<{ source: string; target: string }> {
  const source = await follow(given.source, `The source ${given.source}`);
  // Before anything else is said of it: whoever submits a job must not learn what lies elsewhere.
  mustBeInside(roots, source.real, `The source ${given.source}`);
  if (!source.exists) throw new PermanentError(`The source ${given.source} does not exist.`);
  const found = await reading(`The source ${given.source}`, () => stat(source.real));
  if (!found.isDirectory()) throw new PermanentError(`The source ${given.source} is not a folder.`);
  const target = await follow(given.target, `The target ${given.target}`);
  mustBeInside(roots, target.real, `The target ${given.target}`);
  if (target.real === source.real) {
    throw new PermanentError(`The target ${given.target} is the source itself.`);
  }
  if (isInside(source.real, target.real)) {
    throw new PermanentError(`The target ${given.target} lies inside the source ${given.source}.`);
  }
  if (isInside(target.real, source.real)) {
    throw new PermanentError(`The source ${given.source} lies inside the target ${given.target}.`);
  }
  return { source: source.real, target: target.real };
}

/**
 * Opens a file below the source, all links resolved and found to stay in a root.
 * @throws {PermanentError} when it leads elsewhere, is gone, is unreadable or is no regular file.
 */
export async function openConfined(
  source: string,
  path: string,
  roots: readonly string[],
): Promise<FileHandle> {
  const what = `The file ${path}`;
  mustBeBelow(path);
  const real = await confinedFile(source, path, roots);
  // Not blocking: a pipe in the file's place would otherwise wait for its writer.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await reading(what, () => open(real, flags));
  try {
    // A folder on the way may have become a link after it was resolved.
    const still = await reading(what, () => realpath(join(source, path)));
    if (still !== real || !(await isOpenAt(handle, real))) {
      throw new Error(`${what} was replaced while it was opened.`);
    }
    if (!(await handle.stat()).isFile()) throw new PermanentError(`${what} is not a regular file.`);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * The real path of a file below the source, which may be a link.
 * @throws {PermanentError} when it leads outside the roots or is gone.
 */
export async function confinedFile(source: string, path: string, roots: readonly string[]): Promise<string> {
  const real = await reading(`The file ${path}`, () => realpath(join(source, path)));
  mustBeInside(roots, real, `The file ${path}`);
  return real;
}

/**
 * Makes the folder of a file below the target and returns the file's real path.
 * @throws {PermanentError} when links lead it outside the roots.
 */
export async function confinedTarget(
  target: string,
  path: string,
  roots: readonly string[],
): Promise<string> {
  const what = `The target of ${path}`;
  mustBeBelow(path);
  const folder = dirname(join(target, path));
  // Once so that nothing is made outside, once more for links that came in between.
  mustBeInside(roots, (await follow(folder, what)).real, what);
  await writing(what, () => mkdir(folder, { recursive: true }));
  const real = await writing(what, () => realpath(folder));
  mustBeInside(roots, real, what);
  return join(real, basename(path));
}

/** Whether a handle is of the very file that a path names now. */
export async function isOpenAt(handle: FileHandle, path: string): Promise<boolean> {
  const [opened, named] = await Promise.all([
    handle.stat({ bigint: true }),
    lstat(path, { bigint: true }).catch(() => undefined),
  ]);
  return opened.ino === named?.ino && opened.dev === named.dev;
}

/** Resolves the links of a path as far as it exists, and adds what does not exist yet. */
async function follow(path: string, what: string): Promise<{ real: string; exists: boolean }> {
  const missing: string[] = [];
  for (let existing = resolve(path); ;) {
    const real = await reading(what, () => realpath(existing).catch(undefinedWhenMissing));
    if (real !== undefined) return { real: join(real, ...missing), exists: missing.length === 0 };
    const found = await lstat(existing).catch(undefinedWhenMissing);
    // Such a link has no real path, and writing through it would make one anywhere.
    if (found?.isSymbolicLink()) throw new PermanentError(`${what} leads through a link to nowhere.`);
    // Another task has made it in between: it is looked at again.
    if (found) continue;
    missing.unshift(basename(existing));
    existing = dirname(existing);
  }
}

function undefinedWhenMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error;
}

function mustBeInside(roots: readonly string[], real: string, what: string): void {
  if (roots.some((root) => isInside(root, real))) return;
  throw new PermanentError(`${what} lies outside the folders of INGEST_ROOTS.`);
}

function mustBeBelow(path: string): void {
  if (!isBelow(path)) throw new PermanentError(`The file ${path} is not a path below the source.`);
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
