import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const REPOSITORY = new URL('../..', import.meta.url).pathname;

/** Who may read the environment. The simulator is a program of its own, whose two variables are not the service's. */
const READERS = /^(libs\/platform\/src\/config\/|apps\/(catalog-sim|cli)\/src\/main\.ts$)/;

const READS = [
  /\bprocess\s*(\?\.|\.)\s*env\b/,
  /\bprocess\s*(\?\.)?\[\s*['"`]env\b/,
  /\{[^{}]*\benv\b[^{}]*\}\s*=\s*(globalThis\.)?process\b/,
  /\bfrom\s+['"](node:)?process['"]/,
  /\bimport\s*\(\s*['"](node:)?process['"]/,
];

function readsEnvironment(source: string): boolean {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
  return READS.some((pattern) => pattern.test(code));
}

function productionFiles(): string[] {
  return ['apps', 'libs'].flatMap((top) =>
    readdirSync(join(REPOSITORY, top), { recursive: true, encoding: 'utf8' })
      .map((file) => join(top, file))
      .filter((file) => /\.[cm]?[jt]sx?$/.test(file) && !/spec\.ts$|\/generated\/|node_modules/.test(file)),
  );
}

describe('the environment', () => {
  it('is read by the configuration alone', () => {
    const files = productionFiles();
    expect(files.length).toBeGreaterThan(10);
    const readers = files.filter((file) => readsEnvironment(readFileSync(join(REPOSITORY, file), 'utf8')));
    expect(readers.filter((file) => !READERS.test(file))).toEqual([]);
    expect(readers).toContain('libs/platform/src/config/config.ts');
  });

  it.each([
    `const port = process.env.PORT;`,
    `const port = process.env['PORT'];`,
    `const port = process?.env;`,
    `const port = process['env'].PORT;`,
    `const { env } = process;`,
    `const { argv, env: settings } = process;`,
    `import { env } from 'node:process';`,
    `const { env } = await import('process');`,
    `open('http://x.test', process.env);`,
  ])('is seen to be read by %s', (source) => {
    expect(readsEnvironment(source)).toBe(true);
  });

  it.each([
    `// process.env is read elsewhere`,
    `/** Reads process.env. */`,
    `process.exit(1); const env = {};`,
    `const { pid } = process;`,
  ])('is not read by %s', (source) => {
    expect(readsEnvironment(source)).toBe(false);
  });
});
