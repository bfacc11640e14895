import { mkdir, readFile, writeFile } from 'node:fs/promises';
import ts from 'typescript';
import type { BullmqCommands } from './bullmq-program.js';
import type { LeanCommands } from './lean-program.js';
import type { LonghaulCommands } from './longhaul-program.js';
import { type Program, startProgram } from './program.js';
import type { Bench } from './with-services.js';

const SOURCES = new URL('./', import.meta.url);
const BUILT = new URL('../dist/bench/', import.meta.url);
const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
};

/**
 * Makes JavaScript of the programs that are measured, ours and the one that it is compared with. Both then run as in
 * production: without a loader, and ours on the engine that `npm run build` has made.
 */
export async function buildPrograms(): Promise<void> {
  await mkdir(BUILT, { recursive: true });
  for (const name of ['program', 'bullmq-program', 'lean-sql', 'lean-program', 'longhaul-program']) {
    const text = await readFile(new URL(`${name}.ts`, SOURCES), 'utf8');
    const { outputText } = ts.transpileModule(text, { compilerOptions: OPTIONS });
    const code = outputText
      .replaceAll(`'@app/core'`, `'../libs/core/src/index.js'`)
      .replaceAll(/'@app\/(\w+)\//g, `'../libs/$1/src/`);
    await writeFile(new URL(`${name}.js`, BUILT), code);
  }
}

/** A process with the engine: one that executes tasks, 100 at a time, or one that only submits jobs. */
export function startLonghaul(
  { databaseUrl, redisUrl }: Bench,
  role: 'worker' | 'producer',
): Promise<Program<LonghaulCommands>> {
  return startProgram(new URL('longhaul-program.js', BUILT), [role, databaseUrl, redisUrl, 'bench']);
}

/** A process with bare BullMQ that does the same. */
export function startBullmq(
  { redisUrl }: Bench,
  role: 'worker' | 'producer',
): Promise<Program<BullmqCommands>> {
  return startProgram(new URL('bullmq-program.js', BUILT), [role, redisUrl, 'bare']);
}

/** A process with bare BullMQ and the least of a record in Postgres; `mode` says when it sends its messages. */
export function startLean({ databaseUrl, redisUrl }: Bench, mode: string): Promise<Program<LeanCommands>> {
  return startProgram(new URL('lean-program.js', BUILT), [redisUrl, databaseUrl, 'lean', mode]);
}
