import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { CLEAN, PACKAGES, PLANTS } from './planted-tree.js';

const REPOSITORY = new URL('../..', import.meta.url).pathname;
const RULES = join(REPOSITORY, '.dependency-cruiser.cjs');
const CRUISER = join(REPOSITORY, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');

interface Report {
  summary: { violations: { from: string; rule: { name: string } }[] };
}

let tree: string;
/** the names of the broken rules, by file */
let reported: Map<string, Set<string>>;

beforeAll(async () => {
  tree = await mkdtemp(join(tmpdir(), 'boundaries-'));
  for (const [file, source] of Object.entries(CLEAN)) await write(file, source);
  for (const { file, source } of PLANTS) await write(file, source);
  for (const name of PACKAGES) {
    const manifest = { name, type: 'module', exports: './dist/index.js' };
    await write(`node_modules/${name}/package.json`, JSON.stringify(manifest));
    await write(`node_modules/${name}/dist/index.js`, 'export {};');
  }
  await copyFile(join(REPOSITORY, 'tsconfig.json'), join(tree, 'tsconfig.json'));
  reported = await cruise();
});
afterAll(() => rm(tree, { recursive: true, force: true }));

describe('the rules on imports', () => {
  it.each(PLANTS)('report $rules for $file, and nothing else', ({ file, rules }) => {
    expect([...(reported.get(file) ?? [])]).toEqual(rules);
  });

  it('report nothing for files that keep them', () => {
    const planted = new Set(PLANTS.map(({ file }) => file));
    expect([...reported.keys()].filter((file) => !planted.has(file))).toEqual([]);
  });

  it('are each proven by a planted violation', () => {
    const config = createRequire(import.meta.url)(RULES) as {
      forbidden: { name: string; severity: string }[];
    };
    const proven = new Set(PLANTS.flatMap(({ rules }) => rules));
    expect(config.forbidden.map(({ name }) => name).filter((name) => !proven.has(name))).toEqual([]);
    expect(config.forbidden.filter(({ severity }) => severity !== 'error')).toEqual([]);
  });
});

async function write(file: string, source: string): Promise<void> {
  const path = join(tree, file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, source);
}

async function cruise(): Promise<Map<string, Set<string>>> {
  const { NODE_OPTIONS: _jestOnly, ...env } = process.env;
  const args = [CRUISER, 'apps', 'libs', '--config', RULES, '--output-type', 'json'];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: tree,
    env,
    maxBuffer: 2 ** 26,
  });
  const rulesOf = new Map<string, Set<string>>();
  for (const { from, rule } of (JSON.parse(stdout) as Report).summary.violations) {
    rulesOf.set(from, (rulesOf.get(from) ?? new Set()).add(rule.name));
  }
  return rulesOf;
}
