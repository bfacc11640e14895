import { describe, expect, it } from '@jest/globals';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { builtEntry, dockerStages, read, REPOSITORY } from './deploy-files.js';

const stages = dockerStages();
const build = stages[0] ?? [];
const final = stages.at(-1) ?? [];
const all = stages.flat();
const argsOf = (stage: typeof build, name: string) =>
  stage.filter((instruction) => instruction.name === name).map(({ args }) => args);

/** The sources of every COPY from the build context. */
const copied = argsOf(all, 'COPY')
  .filter((args) => !args.includes('--from='))
  .flatMap((args) => args.split(/\s+/).slice(0, -1));

describe('the Dockerfile', () => {
  it('builds in stages on a slim Node 24', () => {
    expect(stages.length).toBeGreaterThan(1);
    for (const from of argsOf(all, 'FROM')) expect(from).toMatch(/^node:24-\w+-slim( AS \w+)?$/);
  });

  it('copies only what the repository has', () => {
    expect(copied.length).toBeGreaterThan(5);
    expect(copied.filter((source) => !existsSync(join(REPOSITORY, source)))).toEqual([]);
  });

  it('copies only what .dockerignore lets in, and nothing else gets in', () => {
    const lines = read('.dockerignore').split('\n');
    const rules = lines.filter((line) => line !== '' && !line.startsWith('#'));
    expect(rules[0]).toBe('*');
    const allowed = rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1));
    expect([...new Set(copied)].toSorted()).toEqual(allowed.toSorted());
    expect(rules).toEqual(expect.arrayContaining(['**/node_modules', '**/.env*']));
  });

  it('copies from stages that exist', () => {
    const names = argsOf(all, 'FROM').map((from) => / AS (\w+)$/.exec(from)?.[1]);
    for (const [, stage] of argsOf(all, 'COPY')
      .join('\n')
      .matchAll(/--from=(\S+)/g))
      expect(names).toContain(stage);
  });

  it('generates the client and builds with development packages, runs none of their scripts, and ships without them (input 94)', () => {
    expect(argsOf(build, 'RUN')).toEqual(['npm ci --ignore-scripts', 'npm run build']);
    expect(argsOf(all, 'RUN').join('\n')).toContain('npm ci --omit=dev --ignore-scripts');
    expect(argsOf(final, 'COPY').join('\n')).not.toMatch(/--from=build \/app\/node_modules/);
  });

  it('runs as nobody in particular, in production (input 95)', () => {
    expect(argsOf(final, 'USER')).toEqual(['10001:10001']);
    expect(final.findIndex(({ name }) => name === 'USER')).toBeLessThan(
      final.findIndex(({ name }) => name === 'CMD'),
    );
    expect(argsOf(final, 'ENV').join(' ')).toContain('NODE_ENV=production');
    expect(read('Dockerfile')).not.toMatch(/docker\.sock|--privileged|sudo/);
  });

  it('starts what the build makes, by exec form', () => {
    expect(argsOf(final, 'CMD').map((args) => JSON.parse(args) as unknown)).toEqual([
      ['node', builtEntry('service')],
    ]);
    expect(argsOf(final, 'ENTRYPOINT')).toEqual([]);
  });

  it('is healthy by what the service says of itself', () => {
    const [check = ''] = argsOf(final, 'HEALTHCHECK');
    const [program, flag, script] = JSON.parse(check.slice(check.indexOf('['))) as string[];
    expect([program, flag]).toEqual(['node', '-e']);
    expect(script).toContain('/health/live');
    expect(() => new Function(script ?? '')).not.toThrow(SyntaxError);
  });
});
