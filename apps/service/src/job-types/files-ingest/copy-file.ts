import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PermanentError } from '@app/core';
import { isOpenAt } from './confined-path.js';
import { codeOf, reading, writing } from './file-failure.js';

const CHUNK_BYTES = 1024 * 1024;

/** Bytes of a file's name that its part carries: with the rest it stays below the 255 that file systems allow. */
const MAX_NAME_BYTES = 150;

/** One file to copy. */
export interface FileCopy {
  /** Open for reading; left open. */
  source: FileHandle;
  /** How messages name the file. */
  path: string;
  /** Where it goes; the folder exists. */
  target: string;
  /** Of the task that copies, so that two tasks never share a part. */
  taskId: string;
  signal: AbortSignal;
  /** Told of the bytes copied so far. */
  onBytes?(bytes: number): void;
}

/**
 * Copies a file so that the target has either all of it or what it had before, also across a crash. A target
 * that is equal stays untouched. The copy has the source's time of change and the mode 0644.
 * @throws {PermanentError} when no further attempt can mend it.
 */
export async function copyFile(copy: FileCopy): Promise<{ sha256: string; bytes: number; skipped: boolean }> {
  const before = await copy.source.stat();
  const equal = await digestIfEqual(copy, before);
  if (equal !== undefined) return { sha256: equal, bytes: before.size, skipped: true };
  const part = partOf(copy);
  const what = `The target of ${copy.path}`;
  // What a killed attempt left. Another task's part has another name.
  await writing(what, () => rm(part, { force: true }));
  const output = await writing(what, () => open(part, 'wx', 0o644));
  try {
    const sha256 = await transfer(copy, before, (chunk) => writing(what, () => output.writeFile(chunk)));
    await writing(what, () => finish(output, before));
    copy.signal.throwIfAborted();
    // An attempt that lost its lease without noticing must not put its successor's unfinished part in place.
    if (!(await isOpenAt(output, part))) throw new Error(`${what} was taken over by another attempt.`);
    await writing(what, () => rename(part, copy.target));
    return { sha256, bytes: before.size, skipped: false };
  } catch (error) {
    if (await isOpenAt(output, part)) await rm(part, { force: true });
    throw error;
  } finally {
    await output.close();
  }
}

/** The source's sha256 when the target is a regular file with the same content. */
async function digestIfEqual(copy: FileCopy, before: Stats): Promise<string | undefined> {
  const what = `The target of ${copy.path}`;
  const found = await lstat(copy.target).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
  if (found?.isDirectory()) {
    throw new PermanentError(`${what} cannot be written: something else has its name.`);
  }
  if (!found?.isFile() || found.size !== before.size) return undefined;
  const target = await reading(what, () => open(copy.target, constants.O_RDONLY | constants.O_NOFOLLOW));
  try {
    const theirs = await transfer({ ...copy, source: target, onBytes: undefined }, found);
    const ours = await transfer({ ...copy, onBytes: undefined }, before);
    return ours === theirs ? ours : undefined;
  } finally {
    await target.close();
  }
}

/**
 * Reads a file from its beginning to its end, hands on its chunks and returns its sha256.
 * @throws {Error} when it changed meanwhile: the chunks may then be of no version that ever was.
 */
async function transfer(
  { source, path, signal, onBytes }: FileCopy,
  before: Stats,
  write?: (chunk: Buffer) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, before.size + 1));
  let bytes = 0;
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await reading(`The file ${path}`, () =>
      source.read(buffer, 0, buffer.length, bytes),
    );
    if (bytesRead === 0) break;
    const chunk = buffer.subarray(0, bytesRead);
    hash.update(chunk);
    await write?.(chunk);
    bytes += bytesRead;
    onBytes?.(bytes);
  }
  const after = await source.stat();
  if (bytes !== after.size || after.size !== before.size || after.mtimeMs !== before.mtimeMs) {
    throw new Error(`The file ${path} changed while it was copied.`);
  }
  return hash.digest('hex');
}

async function finish(output: FileHandle, { atime, mtime }: Stats): Promise<void> {
  // The mask of the process would otherwise decide who may read the copy.
  await output.chmod(0o644);
  await output.utimes(atime, mtime);
  await output.sync();
}

function partOf({ target, taskId }: FileCopy): string {
  const name = Buffer.from(basename(target)).subarray(0, MAX_NAME_BYTES).toString().replaceAll('\uFFFD', '');
  return join(dirname(target), `.${name}.${taskId}.part`);
}
