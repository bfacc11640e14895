import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeFolder, usableFolder } from './make-folder.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-folder-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('a folder', () => {
  test('is made with those above it, also by several at once, and may be there', async () => {
    const deep = join(folder, 'a/b/c');
    await Promise.all(Array.from({ length: 8 }, () => makeFolder(deep)));
    await makeFolder(deep);
    expect((await stat(deep)).isDirectory()).toBe(true);
    await makeFolder('/');
  });

  test('is refused where a file is', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    await expect(makeFolder(file)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(makeFolder(join(file, 'x/y'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(usableFolder(file)).rejects.toThrow(
      /^The folder .*file cannot be made or written \(EEXIST\): /,
    );
  });

  const onLinux = process.platform === 'linux' ? test : test.skip;
  onLinux.each(['/proc/x', '/proc/x/y/z'])(
    'is refused at once where nothing can be made: %s',
    async (dir) => {
      await expect(usableFolder(dir)).rejects.toThrow(
        `The folder ${dir} cannot be made or written (ENOENT): choose another with LONGHAUL_DIR.`,
      );
    },
  );
});
