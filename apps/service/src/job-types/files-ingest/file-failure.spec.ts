import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, open, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PermanentError } from '@app/core';
import { reading, writing } from './file-failure.js';

let folder: string;
const at = (path: string) => join(folder, path);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-failure-'));
  await mkdir(at('folder'));
  await writeFile(at('file'), 'text');
  await symlink('loop', at('loop'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function failureOf(step: Promise<unknown>): Promise<{ permanent: boolean; message: string }> {
  const error = await step.then(
    () => new Error('It did not fail.'),
    (thrown: unknown) => thrown as Error,
  );
  return { permanent: error instanceof PermanentError, message: error.message };
}

const denied = (code: string) => () => Promise.reject(Object.assign(new Error('raw'), { code }));

describe('reading', () => {
  test('hands on what the step returns', async () => {
    expect(await reading('The file a', () => readFile(at('file'), 'utf8'))).toBe('text');
  });

  test.each(['EACCES', 'EPERM'])('says in a sentence that %s is for good', async (code) => {
    expect(await failureOf(reading('The file a', denied(code)))).toEqual({
      permanent: true,
      message: 'The file a cannot be read: permission denied.',
    });
  });

  test.each([
    ['none', 'The file a has vanished.'],
    ['file/none', 'The file a has vanished.'],
    ['loop', 'The file a leads through too many links.'],
    ['n'.repeat(300), 'The file a has a name that is too long.'],
  ])('says what is wrong with %s', async (path, message) => {
    expect(await failureOf(reading('The file a', () => readFile(at(path))))).toEqual({
      permanent: true,
      message,
    });
  });

  test('leaves other errors as they are', async () => {
    const error = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    await expect(reading('The file a', () => Promise.reject(error))).rejects.toBe(error);
  });
});

describe('writing', () => {
  test('lets a full disk be tried again', async () => {
    const full = await open('/dev/full', 'w');
    try {
      expect(await failureOf(writing('The file a', () => full.write('x')))).toEqual({
        permanent: false,
        message: 'The disk of the target is full. The file a was not written.',
      });
    } finally {
      await full.close();
    }
    expect(await failureOf(writing('The file a', denied('EDQUOT')))).toMatchObject({ permanent: false });
  });

  test('says in a sentence that a missing permission is for good', async () => {
    expect(await failureOf(writing('The file a', denied('EACCES')))).toEqual({
      permanent: true,
      message: 'The file a cannot be written: permission denied.',
    });
  });

  test.each([
    ['a folder below a file', () => mkdir(at('file/sub'), { recursive: true })],
    ['a folder in place of a file', () => mkdir(at('file'), { recursive: true })],
    ['a file in place of a folder', () => rename(at('file'), at('folder'))],
  ])('says that something is in the way of %s', async (_case, step) => {
    expect(await failureOf(writing('The file a', async () => step()))).toEqual({
      permanent: true,
      message: 'The file a cannot be written: something else has its name.',
    });
  });

  test('lets a file that another attempt has just made be tried again', async () => {
    expect(await failureOf(writing('The file a', () => open(at('file'), 'wx')))).toMatchObject({
      permanent: false,
    });
  });

  test('lets a folder that was removed meanwhile be made again', async () => {
    expect(await failureOf(writing('The file a', () => open(at('none/a'), 'wx')))).toMatchObject({
      permanent: false,
    });
  });

  test('says that a name is too long', async () => {
    expect(await failureOf(writing('The file a', () => open(at('n'.repeat(300)), 'wx')))).toEqual({
      permanent: true,
      message: 'The file a has a name that is too long.',
    });
  });
});
