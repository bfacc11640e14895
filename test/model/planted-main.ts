import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PLANTED, type Planted } from './planted.js';
import { withTemplate } from './template.js';

const { values } = parseArgs({
  options: { only: { type: 'string' }, seed: { type: 'string', default: '1' } },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
const root = resolve(import.meta.dirname, '../..');
const COPIED = ['libs', 'prisma', 'scripts', 'test', 'package.json', 'prisma.config.ts', 'tsconfig.json'];
const RUN = {
  sequences: ['--runs', '600', '--no-shrink'],
  races: ['--runs', '0', '--races'],
  both: ['--runs', '600', '--no-shrink', '--races'],
};

/** Runs the model in a tree and answers what it has found, or undefined. Throws when it could not tell. */
async function violationIn(tree: string, by: keyof typeof RUN): Promise<string | undefined> {
  const loader = ['--import', '@swc-node/register/esm-register'];
  const args = [...loader, 'test/model/main.ts', '--seed', values.seed, ...RUN[by]];
  const child = spawn(process.execPath, args, { cwd: tree, stdio: ['ignore', 'pipe', 'pipe'] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => output.push(String(chunk)));
  await new Promise((end) => child.once('close', end));
  const lines = output.join('').trim().split('\n');
  const [, violations] = /^\d+ sequences, (\d+) violations$/.exec(lines.at(-1) ?? '') ?? [];
  if (violations === undefined) throw new Error(`The run broke off:\n${lines.slice(-20).join('\n')}`);
  if (violations === '0') return undefined;
  return (
    lines.find((line) => /^ {2}[-+]|answered|not so|in the order|ERROR|violates/.test(line))?.trim() ??
    lines[1]
  );
}

async function plant({ file, find, replace, by }: Planted, tree: string): Promise<string | undefined> {
  const path = join(tree, 'libs/engine/src/store', file);
  const source = await readFile(path, 'utf8');
  if (!source.includes(find)) throw new Error(`${file} no longer has what is to be replaced: ${find}`);
  await writeFile(
    path,
    source.replaceAll(find, () => replace),
  );
  try {
    return await violationIn(tree, by);
  } finally {
    await writeFile(path, source);
  }
}

const tree = await mkdtemp(join(tmpdir(), 'longhaul-planted-'));
let missed = 0;
try {
  for (const name of COPIED) await cp(join(root, name), join(tree, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(tree, 'node_modules'));
  await withTemplate(async () => {
    const bare = values.only ? undefined : await violationIn(tree, 'both');
    if (bare !== undefined) missed++;
    if (!values.only) print(`${bare === undefined ? 'green' : `RED: ${bare}`}  the engine as it is`);
    for (const planted of PLANTED.filter(({ name }) => name.includes(values.only ?? ''))) {
      const seen = await plant(planted, tree).catch((error: Error) => {
        missed++;
        return error.message;
      });
      if (seen === undefined) missed++;
      print(`${seen === undefined ? 'MISSED' : 'red'}  ${planted.name}: ${seen ?? 'nothing was seen'}`);
    }
  });
} finally {
  await rm(tree, { recursive: true, force: true });
}
print(missed === 0 ? 'All planted bugs were seen.' : `${missed} were missed, or could not be told.`);
process.exit(missed === 0 ? 0 : 1);
