import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

export const REPOSITORY = new URL('../..', import.meta.url).pathname;

/** A service of the compose file, as far as the tests look at it. */
export interface ComposeService {
  image: string;
  build?: string;
  user?: string;
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  deploy?: { replicas: number };
  healthcheck?: { test?: string[]; disable?: boolean };
  stop_grace_period?: string;
  restart?: string;
  read_only?: boolean;
  tmpfs?: string[];
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  privileged?: boolean;
}

/** One instruction of a Dockerfile, its continuation lines joined. */
export interface Instruction {
  name: string;
  args: string;
}

export function read(file: string): string {
  return readFileSync(join(REPOSITORY, file), 'utf8');
}

/** The services of the compose file, with merge keys resolved and variables at their defaults. */
export function composeServices(): Record<string, ComposeService> {
  const text = read('docker-compose.yml').replace(/\$\{\w+:-([^}]*)\}/g, '$1');
  return (parse(text, { merge: true }) as { services: Record<string, ComposeService> }).services;
}

/** The stages of the Dockerfile, in order; each begins with its FROM. */
export function dockerStages(): Instruction[][] {
  const stages: Instruction[][] = [];
  const joined = read('Dockerfile')
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n/g, ' ');
  for (const line of joined.split('\n').filter((text) => text.trim() !== '')) {
    const [, name = '', args = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
    if (name === 'FROM') stages.push([]);
    stages.at(-1)?.push({ name, args: args.trim() });
  }
  return stages;
}

/** Where `nest build <project>` puts the entry file, by nest-cli.json and the tsconfig that it names. */
export function builtEntry(project: string): string {
  const { projects } = JSON.parse(read('nest-cli.json')) as {
    projects: Record<
      string,
      { entryFile: string; sourceRoot: string; compilerOptions: { tsConfigPath: string } }
    >;
  };
  const found = projects[project];
  if (!found) throw new Error(`nest-cli.json has no project ${project}`);
  const { tsConfigPath } = found.compilerOptions;
  const { compilerOptions } = JSON.parse(read(tsConfigPath)) as {
    compilerOptions: { rootDir: string; outDir: string };
  };
  const at = (path: string) => join(tsConfigPath, '..', path);
  if (at(compilerOptions.rootDir) !== '.') throw new Error(`${tsConfigPath} does not build from the top`);
  return join(at(compilerOptions.outDir), found.sourceRoot, `${found.entryFile}.js`);
}
