import { readdir } from 'node:fs/promises';
import { type JobTypeClass, jobTypePolicy } from '@app/core';

const FILE = /\.job\.(js|ts)$/;

/**
 * Loads the job types of a folder: every file `<name>.job.js` (or `.ts`) exports exactly one class with `@JobType`.
 * @throws {TypeError} naming the file, when it exports none or several, or a name that another file has.
 */
export async function discoverJobTypes(folder: URL): Promise<JobTypeClass[]> {
  const files = (await readdir(folder))
    .filter((file) => FILE.test(file) && !file.endsWith('.d.ts'))
    .toSorted();
  const found = new Map<string, string>();
  const types: JobTypeClass[] = [];
  for (const file of files) {
    const exported = Object.values((await import(new URL(file, ensureSlash(folder)).href)) as object);
    const classes = exported.filter(
      (value): value is JobTypeClass => typeof value === 'function' && jobTypePolicy(value) !== undefined,
    );
    const [type] = classes;
    if (!type || classes.length > 1) {
      throw new TypeError(
        `${file} must export exactly one class with @JobType, and exports ${classes.length}.`,
      );
    }
    const name = jobTypePolicy(type)?.name ?? '';
    const other = found.get(name);
    if (other !== undefined)
      throw new TypeError(`The job type "${name}" is in two files: ${other} and ${file}.`);
    found.set(name, file);
    types.push(type);
  }
  return types;
}

function ensureSlash(folder: URL): URL {
  return folder.href.endsWith('/') ? folder : new URL(`${folder.href}/`);
}
