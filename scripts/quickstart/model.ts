import { copyFile, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder } from '../local/make-folder.js';
import { repositoryRoot } from '../local/paths.js';

/** The "model" whose files are copied: a package that is installed anyway, with a few thousand files. */
const NAME = 'rxjs';
const AT_A_TIME = 32;

/** A model that a job can copy. */
export interface Model {
  name: string;
  version: string;
  id: string;
  /** The folder of its files, and the one where the job is to put them. */
  source: string;
  target: string;
}

/** Puts the model's files into our own folder: jobs can write where they may read, and node_modules is not theirs. */
export async function prepareModel(modelsFolder: string, signal: AbortSignal): Promise<Model> {
  const installed = join(repositoryRoot, 'node_modules', NAME);
  const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    version: string;
  };
  const id = `${NAME}-${version}`;
  const source = join(modelsFolder, 'source', id);
  if (!(await stat(source).catch(() => undefined))) await copyFolder(installed, source, signal);
  return { name: NAME, version, id, source, target: join(modelsFolder, id) };
}

/** Copies beside the final place and renames: a run that was cut leaves nothing that looks complete. */
async function copyFolder(from: string, to: string, signal: AbortSignal): Promise<void> {
  const draft = `${to}.new`;
  await rm(draft, { recursive: true, force: true });
  const files = (await readdir(from, { recursive: true, withFileTypes: true })).filter((each) =>
    each.isFile(),
  );
  const places = files.map(({ parentPath, name }) => join(parentPath, name).slice(from.length + 1));
  for (const folder of new Set(places.map((place) => dirname(join(draft, place))))) await makeFolder(folder);
  const copyNext = async () => {
    for (let place = places.pop(); place !== undefined; place = places.pop()) {
      signal.throwIfAborted();
      await copyFile(join(from, place), join(draft, place));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, copyNext));
  await rename(draft, to);
}
