import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { transform } from '@swc/core';
import { repositoryRoot } from '../../scripts/local/paths.js';

const SOURCES = [
  'libs',
  'apps/service/src',
  'test/faults/job-types',
  'test/faults/service-main.ts',
  'test/faults/start-service.ts',
];
const TESTS = /\.(spec|int-spec|e2e-spec|d)\.ts$/;

/**
 * Compiles the service and the job types of the fault runs, once for a run: a worker that is killed every two seconds
 * must be back within one, and from the sources it takes five. Answers the file to start.
 * @param more files and folders that are compiled too
 */
export async function compileService(folder: string, more: string[] = []): Promise<string> {
  const files = (await Promise.all([...SOURCES, ...more].map(sourcesBelow))).flat();
  await Promise.all(files.map((file) => compile(file, folder)));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n');
  await mkdir(join(folder, 'node_modules/@app'), { recursive: true });
  for (const name of ['core', 'platform', 'engine'])
    await symlink(join(folder, `libs/${name}/src`), join(folder, `node_modules/@app/${name}`));
  // What is not ours is found one folder up.
  await symlink(join(repositoryRoot, 'node_modules'), join(dirname(folder), 'node_modules'));
  return join(folder, 'test/faults/service-main.js');
}

async function sourcesBelow(path: string): Promise<string[]> {
  const full = join(repositoryRoot, path);
  if (path.endsWith('.ts')) return [full];
  const entries = await readdir(full, { recursive: true });
  return entries.filter((name) => name.endsWith('.ts') && !TESTS.test(name)).map((name) => join(full, name));
}

async function compile(file: string, folder: string): Promise<void> {
  const target = join(folder, relative(repositoryRoot, file)).replace(/\.ts$/, '.js');
  const { code } = await transform(await readFile(file, 'utf8'), {
    filename: file,
    swcrc: false,
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      keepClassNames: true,
    },
    module: { type: 'es6' },
    sourceMaps: 'inline',
  });
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code);
}
