import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top of the checkout or of the image: where package.json and prisma/ stand, from the sources as well as from dist/. */
export const repositoryRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

/** Where programs that were fetched for this checkout stay; ignored by git. */
export const programsFolder = join(repositoryRoot, '.longhaul');

/** Where everything that runs locally keeps its data: beside the programs, unless LONGHAUL_DIR names another folder. */
export const localFolder = resolve(process.env['LONGHAUL_DIR'] || programsFolder);

function findRoot(folder: string): string {
  if (existsSync(join(folder, 'prisma/schema.prisma'))) return folder;
  const parent = dirname(folder);
  if (parent === folder)
    throw new Error('The folder of the project, with its prisma/schema.prisma, was not found.');
  return findRoot(parent);
}
