import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PermanentError } from '@app/core';
import { confinedFolders, confinedTarget, openConfined, realRoots } from './confined-path.js';

let base: string;
let roots: string[];
/** Not joined, so that `..` stays in the path. */
const at = (path: string) => `${base}/${path}`;

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'confined-path-')));
  // Others must get in, for the tests that give up root's rights.
  await chmod(base, 0o755);
  for (const path of ['in/model/lod', 'out', 'outside']) await mkdir(at(path), { recursive: true });
  await writeFile(at('in/model/a'), 'a');
  await writeFile(at('outside/secret'), 'secret');
  roots = [at('in'), at('out')];
});
afterEach(() => rm(base, { recursive: true, force: true }));

/** The message of a permanent failure, without the temporary folder. */
async function refusal(step: Promise<unknown>): Promise<string> {
  const error = await step.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PermanentError);
  return (error as Error).message.replaceAll(base, '');
}

/** Runs a step with the rights of an ordinary user: root may read everything. */
async function asNobody<T>(step: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    return await step();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

const folders = (source: string, target: string) =>
  confinedFolders({ source: at(source), target: at(target) }, roots);

describe('the roots', () => {
  test('must be set', async () => {
    expect(await refusal(realRoots([]))).toBe('INGEST_ROOTS is not set, so that no folder may be read.');
  });

  test('are real paths, and hold nothing when they do not exist', async () => {
    await symlink('in', at('link'));
    expect(await realRoots([at('link'), at('none'), at('out/../out')])).toEqual(roots);
  });
});

describe('source and target', () => {
  test('are real paths, of which the target need not exist', async () => {
    await symlink('../in/model', at('out/model'));
    expect(await folders('out/model', 'out/new/deep')).toEqual({
      source: at('in/model'),
      target: at('out/new/deep'),
    });
    expect(await folders('in', 'out')).toEqual({ source: at('in'), target: at('out') });
    expect(await folders('in/model/../model/', 'in/model-2')).toMatchObject({ source: at('in/model') });
  });

  test.each([
    ['outside', 'The source /outside lies outside the folders of INGEST_ROOTS.'],
    ['in/../outside', 'The source /in/../outside lies outside the folders of INGEST_ROOTS.'],
    ['.', 'The source /. lies outside the folders of INGEST_ROOTS.'],
    ['inside', 'The source /inside lies outside the folders of INGEST_ROOTS.'],
    ['in/link', 'The source /in/link lies outside the folders of INGEST_ROOTS.'],
    ['in/link/none', 'The source /in/link/none lies outside the folders of INGEST_ROOTS.'],
    ['in/none', 'The source /in/none does not exist.'],
    ['in/model/a', 'The source /in/model/a is not a folder.'],
    ['in/model/a/b', 'The source /in/model/a/b does not exist.'],
    ['in/loop', 'The source /in/loop leads through too many links.'],
  ])('refuses the source %j', async (source, message) => {
    await symlink('../outside', at('in/link'));
    await symlink('loop', at('in/loop'));
    expect(await refusal(folders(source, 'out/x'))).toBe(message);
  });

  test.each([
    ['outside/x', 'The target /outside/x lies outside the folders of INGEST_ROOTS.'],
    ['out/../x', 'The target /out/../x lies outside the folders of INGEST_ROOTS.'],
    ['out/link/x', 'The target /out/link/x lies outside the folders of INGEST_ROOTS.'],
    ['out/nowhere/x', 'The target /out/nowhere/x leads through a link to nowhere.'],
    ['in/model', 'The target /in/model is the source itself.'],
    ['out/model', 'The target /out/model is the source itself.'],
    ['in/model/x', 'The target /in/model/x lies inside the source /in/model.'],
    ['out/model/x', 'The target /out/model/x lies inside the source /in/model.'],
    ['in', 'The source /in/model lies inside the target /in.'],
  ])('refuses the target %j', async (target, message) => {
    await symlink('../outside', at('out/link'));
    await symlink('../outside/none', at('out/nowhere'));
    await symlink('../in/model', at('out/model'));
    expect(await refusal(folders('in/model', target))).toBe(message);
    expect(await readdir(at('outside'))).toEqual(['secret']);
  });

  test('says that a source behind a closed door cannot be read', async () => {
    await mkdir(at('in/closed/model'), { recursive: true });
    await chmod(at('in/closed'), 0o700);
    if (process.geteuid?.() !== 0) await chmod(at('in/closed'), 0o000);
    expect(await refusal(asNobody(() => folders('in/closed/model', 'out/x')))).toBe(
      'The source /in/closed/model cannot be read: permission denied.',
    );
    await chmod(at('in/closed'), 0o700);
  });
});

/** The content of a file of the source. */
const opened = async (path: string) => {
  const handle = await openConfined(at('in/model'), path, roots);
  const text = await handle.readFile('utf8');
  await handle.close();
  return text;
};

describe('a file of the source', () => {
  test('is opened, also through a link within the roots', async () => {
    await writeFile(at('out/b'), 'b');
    await symlink('../../out/b', at('in/model/link'));
    expect(await opened('a')).toBe('a');
    expect(await opened('link')).toBe('b');
  });

  test.each([
    ['link', 'The file link lies outside the folders of INGEST_ROOTS.'],
    ['folder/secret', 'The file folder/secret lies outside the folders of INGEST_ROOTS.'],
    ['../../outside/secret', 'The file ../../outside/secret is not a path below the source.'],
    ['/etc/passwd', 'The file /etc/passwd is not a path below the source.'],
    ['lod/../a', 'The file lod/../a is not a path below the source.'],
    ['none', 'The file none has vanished.'],
    ['a/b', 'The file a/b has vanished.'],
    ['lod', 'The file lod is not a regular file.'],
    ['pipe', 'The file pipe is not a regular file.'],
  ])('is refused at %j', async (path, message) => {
    await symlink('../../outside/secret', at('in/model/link'));
    await symlink('../../outside', at('in/model/folder'));
    execFileSync('mkfifo', [at('in/model/pipe')]);
    expect(await refusal(opened(path))).toBe(message);
  });

  test('must be readable', async () => {
    await chmod(at('in/model/a'), process.geteuid?.() === 0 ? 0o600 : 0o000);
    expect(await refusal(asNobody(() => opened('a')))).toBe('The file a cannot be read: permission denied.');
  });
});

describe('a file of the target', () => {
  test('gets its folder', async () => {
    expect(await confinedTarget(at('out/new'), 'lod/1/a', roots)).toBe(at('out/new/lod/1/a'));
    expect(existsSync(at('out/new/lod/1'))).toBe(true);
  });

  test('goes through links within the roots', async () => {
    await symlink('../in', at('out/new'));
    expect(await confinedTarget(at('out/new'), 'x/a', roots)).toBe(at('in/x/a'));
  });

  test('makes nothing outside the roots', async () => {
    await symlink('../outside', at('out/new'));
    const message = 'The target of x/a lies outside the folders of INGEST_ROOTS.';
    expect(await refusal(confinedTarget(at('out/new'), 'x/a', roots))).toBe(message);
    expect(await refusal(confinedTarget(at('out'), '../x/a', roots))).toBe(
      'The file ../x/a is not a path below the source.',
    );
    expect(await readdir(at('outside'))).toEqual(['secret']);
  });

  test('needs a folder where one is', async () => {
    await writeFile(at('out/x'), '');
    const message = 'The target of x/a cannot be written: something else has its name.';
    expect(await refusal(confinedTarget(at('out'), 'x/a', roots))).toBe(message);
  });

  test('needs the right to make its folder', async () => {
    await chmod(at('out'), 0o555);
    expect(await refusal(asNobody(() => confinedTarget(at('out'), 'x/a', roots)))).toBe(
      'The target of x/a cannot be written: permission denied.',
    );
  });

  test('is not followed when its folder was replaced by a link', async () => {
    await mkdir(at('out/x'));
    await rename(at('out/x'), at('out/y'));
    await symlink('../outside', at('out/x'));
    expect(await refusal(confinedTarget(at('out'), 'x/a', roots))).toMatch(/lies outside/);
  });
});

test('a target that other tasks make meanwhile is no link to nowhere', async () => {
  for (let round = 0; round < 150; round++) {
    const target = `out/made-${round}/a/b`;
    const files = await Promise.all(
      Array.from({ length: 4 }, async (_, nth) => {
        const { target: real } = await folders('in/model', target);
        return confinedTarget(real, `${nth}/file`, roots);
      }),
    );
    expect(files).toEqual([0, 1, 2, 3].map((nth) => at(`${target}/${nth}/file`)));
  }
});
