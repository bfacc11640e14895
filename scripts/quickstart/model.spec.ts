import { mkdtemp, readdir, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repositoryRoot } from '../local/paths.js';
import { prepareModel } from './model.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-model-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('the files of the model are a copy of their own, made once', async () => {
  const { signal } = new AbortController();
  const model = await prepareModel(folder, signal);
  expect(model).toMatchObject({ name: 'rxjs', id: `rxjs-${model.version}`, target: join(folder, model.id) });
  expect(model.source.startsWith(`${folder}/`)).toBe(true);
  const installed = await readdir(join(repositoryRoot, 'node_modules/rxjs'), { recursive: true });
  expect((await readdir(model.source, { recursive: true })).toSorted()).toEqual(installed.toSorted());
  // A second name of the same file would let jobs write into node_modules after all.
  const file = join(model.source, 'package.json');
  expect((await stat(file)).nlink).toBe(1);

  await utimes(file, 1, 1);
  expect(await prepareModel(folder, signal)).toEqual(model);
  expect((await stat(file)).mtimeMs).toBe(1000);
});
