import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { appendFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PermanentError } from '@app/core';
import { copyFile, type FileCopy } from './copy-file.js';

let base: string;
const at = (path: string) => join(base, path);

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'copy-file-'));
  await mkdir(at('in'));
  await mkdir(at('out'));
});
afterEach(() => rm(base, { recursive: true, force: true }));

const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');

/** More than two chunks. */
const large = () => Buffer.alloc(2_500_000, 'longhaul');

async function copy(name = 'a', options: Partial<FileCopy> = {}) {
  const source = await open(at(`in/${name}`));
  try {
    const { signal } = new AbortController();
    return await copyFile({
      source,
      path: name,
      target: at(`out/${name}`),
      taskId: 'task-1',
      signal,
      ...options,
    });
  } finally {
    await source.close();
  }
}

describe('a copy', () => {
  test('has the content, the time of change and an ordinary mode', async () => {
    await writeFile(at('in/a'), large(), { mode: 0o4700 });
    await utimes(at('in/a'), 1_000_000, 1_500_000);
    const told: number[] = [];
    const copied = await copy('a', { onBytes: (bytes) => told.push(bytes) });
    expect(copied).toEqual({ sha256: sha256(large()), bytes: 2_500_000, skipped: false });
    expect(told.at(-1)).toBe(2_500_000);
    expect(told.length).toBeGreaterThan(2);
    expect((await readFile(at('out/a'))).equals(large())).toBe(true);
    const { mode, mtimeMs } = await stat(at('out/a'));
    expect([mode & 0o7777, mtimeMs]).toEqual([0o644, 1_500_000_000]);
    expect(await readdir(at('out'))).toEqual(['a']);
  });

  test('may be empty', async () => {
    await writeFile(at('in/a'), '');
    expect(await copy()).toEqual({ sha256: sha256(''), bytes: 0, skipped: false });
    expect(await copy()).toEqual({ sha256: sha256(''), bytes: 0, skipped: true });
  });

  test('may have the longest name that there is', async () => {
    const name = `${'n'.repeat(149)}${'é'.repeat(53)}`;
    await writeFile(at(`in/${name}`), 'x');
    await copy(name, { taskId: '01890000-0000-7000-8000-000000000000' });
    expect(await readdir(at('out'))).toEqual([name]);
  });

  test('is not made again when the target is equal', async () => {
    await writeFile(at('in/a'), large());
    await copy();
    const { ino } = await stat(at('out/a'));
    expect(await copy()).toEqual({ sha256: sha256(large()), bytes: 2_500_000, skipped: true });
    expect((await stat(at('out/a'))).ino).toBe(ino);
  });

  test.each([
    ['longer', 'contents'],
    ['of the same size', 'CONTENT'],
  ])('replaces a target that is %s', async (_case, theirs) => {
    await writeFile(at('in/a'), 'content');
    await writeFile(at('out/a'), theirs);
    expect(await copy()).toMatchObject({ skipped: false });
    expect(await readFile(at('out/a'), 'utf8')).toBe('content');
  });

  test('replaces a link, and not the file that it leads to', async () => {
    await writeFile(at('in/a'), 'content');
    await writeFile(at('victim'), 'content');
    await symlink('../victim', at('out/a'));
    expect(await copy()).toMatchObject({ skipped: false });
    await writeFile(at('in/a'), 'other');
    await copy();
    expect(await readFile(at('victim'), 'utf8')).toBe('content');
  });

  test('takes the place of the part that a killed attempt left', async () => {
    await writeFile(at('in/a'), 'content');
    await writeFile(at('out/.a.task-1.part'), 'con');
    await writeFile(at('out/.a.task-2.part'), 'of another task');
    await copy();
    expect(await readdir(at('out'))).toEqual(['.a.task-2.part', 'a']);
  });
});

const unharmed = async () => {
  expect(await readdir(at('out'))).toEqual(['a']);
  expect(await readFile(at('out/a'), 'utf8')).toBe('before');
};

describe('a failed copy leaves what was there, and no part', () => {
  beforeEach(async () => {
    await writeFile(at('in/a'), large());
    await writeFile(at('out/a'), 'before');
  });

  test('when it is told to stop', async () => {
    const controller = new AbortController();
    const halfway = (bytes: number) => bytes > 1_000_000 && controller.abort();
    await expect(copy('a', { signal: controller.signal, onBytes: halfway })).rejects.toMatchObject({
      name: 'AbortError',
    });
    await unharmed();
  });

  test('when it is told to stop at the very end', async () => {
    const controller = new AbortController();
    const atEnd = (bytes: number) => bytes === 2_500_000 && controller.abort();
    await expect(copy('a', { signal: controller.signal, onBytes: atEnd })).rejects.toMatchObject({
      name: 'AbortError',
    });
    await unharmed();
  });

  test('when it is told to stop while it compares', async () => {
    await writeFile(at('out/a'), Buffer.alloc(2_500_000));
    await expect(copy('a', { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    expect(await readdir(at('out'))).toEqual(['a']);
  });

  test.each([
    ['grows', () => appendFileSync(at('in/a'), 'more')],
    ['shrinks', () => writeFileSync(at('in/a'), 'less')],
    ['is rewritten', () => utimesSync(at('in/a'), 1, 1)],
  ])('when the source %s meanwhile', async (_case, change) => {
    const once = (bytes: number) => bytes <= 1024 * 1024 && change();
    const error = await copy('a', { onBytes: once }).catch((thrown: unknown) => thrown);
    expect((error as Error).message).toBe('The file a changed while it was copied.');
    expect(error).not.toBeInstanceOf(PermanentError);
    await unharmed();
  });

  test('when it cannot be written', async () => {
    await rm(at('out/a'));
    await mkdir(at('out/a'));
    const error = await copy().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PermanentError);
    expect((error as Error).message).toBe('The target of a cannot be written: something else has its name.');
    expect(await readdir(at('out'))).toEqual(['a']);
  });
});

test('a copy that another attempt took over leaves the other’s part alone', async () => {
  await writeFile(at('in/a'), large());
  const part = at('out/.a.task-1.part');
  const takeOver = (bytes: number) => {
    if (bytes < 2_500_000) return;
    rmSync(part);
    writeFileSync(part, 'theirs');
  };
  await expect(copy('a', { onBytes: takeOver })).rejects.toThrow(
    'The target of a was taken over by another attempt.',
  );
  expect(await readdir(at('out'))).toEqual(['.a.task-1.part']);
  expect(await readFile(part, 'utf8')).toBe('theirs');
});

test('the mode of a copy does not hang on the mask of the process', async () => {
  await writeFile(at('in/a'), 'content');
  await chmod(at('in/a'), 0o400);
  const mask = process.umask(0o077);
  try {
    await copy();
  } finally {
    process.umask(mask);
  }
  expect((await stat(at('out/a'))).mode & 0o777).toBe(0o644);
});
