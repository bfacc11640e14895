import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What a program can be asked, by name; each takes and gives plain data. */
export type Commands = Record<string, (input: never) => Promise<unknown>>;

/** A program of a benchmark in a process of its own. */
export interface Program<C extends Commands> {
  ask<K extends keyof C & string>(name: K, ...input: Parameters<C[K]>): ReturnType<C[K]>;
  stop(): Promise<void>;
}

interface Question {
  id: number;
  name: string;
  input: unknown;
}

interface Answer {
  id: number;
  output?: unknown;
  failure?: string;
}

/** Starts a program. BENCH_NODE_FLAGS gives all of them more flags of Node, such as --cpu-prof. */
export async function startProgram<C extends Commands>(file: URL, args: string[]): Promise<Program<C>> {
  const execArgv = process.env['BENCH_NODE_FLAGS']?.split(' ') ?? [];
  const child = fork(fileURLToPath(file), args, { execArgv });
  const name = `${file.pathname.split('/').at(-1)} ${args[0]}`;
  const waiting = new Map<number, Waiting>();
  const exited = once(child, 'exit').then(() => {
    for (const { reject } of waiting.values()) reject(new Error(`${name} ended before it answered.`));
    return true;
  });
  child.on('message', ({ id, output, failure }: Answer) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (failure === undefined) asked?.resolve(output as never);
    else asked?.reject(new Error(`${name}: ${failure}`));
  });
  let last = 0;
  const ask = (name: string, input?: unknown) =>
    new Promise<never>((resolve, reject) => {
      const question: Question = { id: ++last, name, input };
      waiting.set(question.id, { resolve, reject });
      child.send(question);
    });
  const stop = async () => {
    if (child.connected) child.disconnect();
    await exited;
  };
  await ask('ready');
  return { ask: ask as Program<Commands>['ask'], stop };
}

interface Waiting {
  resolve(output: never): void;
  reject(error: Error): void;
}

/** The other side: answers what is asked until whoever started this process lets go of it, and then closes. */
export function answer(commands: Commands, close: () => Promise<unknown>): void {
  const known: Record<string, ((input: never) => Promise<unknown>) | undefined> = commands;
  process.on('message', ({ id, name, input }: Question) => {
    const work = name === 'ready' ? Promise.resolve() : known[name]?.(input as never);
    work?.then(
      (output) => reply({ id, output }),
      (error: Error) => reply({ id, failure: error.stack ?? error.message }),
    );
  });
  process.once('disconnect', () => {
    // Where the servers have gone before, nothing else would end it.
    setTimeout(() => process.exit(1), 10_000).unref();
    void close().finally(() => process.exit());
  });
}

function reply(message: Answer): void {
  if (process.connected) process.send?.(message);
}

/** Does something `count` times, `lanes` of them at a time; answers the milliseconds that all took. */
export async function inFlight(
  count: number,
  lanes: number,
  act: (index: number) => Promise<unknown>,
): Promise<number> {
  const begun = performance.now();
  let next = 0;
  const lane = async () => {
    while (next < count) await act(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return performance.now() - begun;
}

/** Counts what a worker does, and tells who waits for a number of it. */
export class Counter {
  total = 0;
  private awaited: { count: number; resolve: () => void } | undefined;

  add(): void {
    this.total++;
    if (this.total === this.awaited?.count) this.awaited.resolve();
  }

  /** Begins to count anew; settles when `count` is reached. */
  until(count: number): Promise<void> {
    this.total = 0;
    return new Promise((resolve) => (this.awaited = { count, resolve }));
  }
}
