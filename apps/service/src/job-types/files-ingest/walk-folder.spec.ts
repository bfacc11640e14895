import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PermanentError } from '@app/core';
import { walkFolder } from './walk-folder.js';

let base: string;
let source: string;
let controller: AbortController;

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'walk-folder-')));
  source = join(base, 'root/source');
  controller = new AbortController();
  await mkdir(source, { recursive: true });
});
afterEach(() => rm(base, { recursive: true, force: true }));

async function put(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(base, path)), { recursive: true });
    await writeFile(join(base, path), path);
  }
}

const walk = () => walkFolder({ source, roots: [join(base, 'root')], signal: controller.signal });

async function all(paths: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const path of paths) found.push(path);
  return found;
}

async function refusal(): Promise<string> {
  const error = await all(walk()).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PermanentError);
  return (error as Error).message;
}

describe('the walk', () => {
  test('finds the files of all folders in the same order each time', async () => {
    await put(
      ...['b/2', 'b/10', 'B', 'a.txt', 'a/z', 'a/y/x', 'é', '.hidden'].map((path) => `root/source/${path}`),
    );
    await mkdir(join(source, 'empty'));
    const found = await all(walk());
    expect(found).toEqual(['.hidden', 'B', 'a/y/x', 'a/z', 'a.txt', 'b/10', 'b/2', 'é']);
    expect(await all(walk())).toEqual(found);
  });

  test('finds nothing in an empty folder', async () => {
    expect(await all(walk())).toEqual([]);
  });

  test('reads a folder when it comes to it', async () => {
    await put('root/source/a', 'root/source/b/c');
    const paths = walk();
    expect((await paths.next()).value).toBe('a');
    await put('root/source/b/d');
    expect(await all(paths)).toEqual(['b/c', 'b/d']);
  });

  test('takes a link to a file of a root for a file', async () => {
    await put('root/other/a');
    await symlink('../other/a', join(source, 'link'));
    expect(await all(walk())).toEqual(['link']);
  });

  test('stops when told to', async () => {
    await put('root/source/a', 'root/source/b');
    const paths = walk();
    await paths.next();
    controller.abort();
    await expect(paths.next()).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('the walk refuses', () => {
  test('a link to a file outside the roots', async () => {
    await put('secret');
    await symlink('../../secret', join(source, 'link'));
    expect(await refusal()).toBe('The file link lies outside the folders of INGEST_ROOTS.');
  });

  test('a link through a link to a file outside the roots', async () => {
    await put('secret');
    await symlink('../secret', join(base, 'root/hop'));
    await symlink('../hop', join(source, 'link'));
    expect(await refusal()).toBe('The file link lies outside the folders of INGEST_ROOTS.');
  });

  test('a link to a folder, also of a root', async () => {
    await put('root/other/a');
    await symlink('../other', join(source, 'link'));
    expect(await refusal()).toBe('The file link is a link to a folder, which is not followed.');
  });

  test('a link that goes in circles', async () => {
    await mkdir(join(source, 'a'));
    await symlink('..', join(source, 'a/up'));
    expect(await refusal()).toBe('The file a/up is a link to a folder, which is not followed.');
    await rm(join(source, 'a/up'));
    await symlink('self', join(source, 'self'));
    expect(await refusal()).toBe('The file self leads through too many links.');
  });

  test('a link to nothing', async () => {
    await symlink('none', join(source, 'link'));
    expect(await refusal()).toBe('The file link has vanished.');
  });

  test('a pipe, and a link to one', async () => {
    execFileSync('mkfifo', [join(base, 'root/pipe')]);
    await symlink('../pipe', join(source, 'link'));
    expect(await refusal()).toBe('The file link is not a regular file.');
    execFileSync('mkfifo', [join(source, 'a-pipe')]);
    expect(await refusal()).toBe('The file a-pipe is not a regular file.');
  });

  test('a socket', async () => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(join(source, 'socket'), listening));
    try {
      expect(await refusal()).toBe('The file socket is not a regular file.');
    } finally {
      await new Promise((closed) => server.close(closed));
    }
  });

  test('a name that is not UTF-8', async () => {
    await writeFile(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0x61, 0xff])]), '');
    expect(await refusal()).toBe('The name of the file a\uFFFD is not UTF-8.');
  });

  test('a source that has vanished', async () => {
    await rm(source, { recursive: true });
    expect(await refusal()).toBe('The source has vanished.');
  });
});
