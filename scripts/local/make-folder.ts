import { access, constants, mkdir, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { LocalStackError } from './types.js';

/** Makes a folder and those above it. Node's own recursive mkdir never ends where nothing can be made, as in /proc. */
export async function makeFolder(dir: string): Promise<void> {
  const folder = resolve(dir);
  if (await made(folder)) return;
  if (dirname(folder) !== folder) await makeFolder(dirname(folder));
  await mkdir(folder).catch(async (error: NodeJS.ErrnoException) => {
    // Another process was quicker.
    if (error.code !== 'EEXIST' || !(await stat(folder)).isDirectory()) throw error;
  });
}

async function made(folder: string): Promise<boolean> {
  try {
    await mkdir(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    // Some systems name another reason, such as one that is not writable, for a folder that exists.
    if ((await stat(folder).catch(() => undefined))?.isDirectory()) return true;
    throw error;
  }
}

/**
 * A folder to work in, made when absent, by the one name that all of us find in the command lines of its servers.
 * @throws {LocalStackError} when it cannot be made or written.
 */
export async function usableFolder(dir: string): Promise<string> {
  try {
    await makeFolder(dir);
    const folder = await realpath(dir);
    await access(folder, constants.W_OK | constants.X_OK);
    return folder;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new LocalStackError(
      `The folder ${dir} cannot be made or written (${code ?? message}): choose another with LONGHAUL_DIR.`,
    );
  }
}
