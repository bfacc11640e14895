import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import * as bindings from '@prisma/schema-engine-wasm/schema_engine_bg';
import { prismaSchema } from './migration-files.js';
import { wholeScriptAdapter } from './whole-script-adapter.js';

/** Of WebAssembly's API what is used here; the types that come with Node leave it out. */
interface WasmApi {
  instantiate(
    bytes: Uint8Array,
    imports: Record<string, object>,
  ): Promise<{ instance: { exports: { __wbindgen_start(): void } } }>;
}

let panic = '';
let breakOff: (error: Error) => void = () => {};
const broken = new Promise<never>((_resolve, reject) => {
  breakOff = reject;
});
broken.catch(() => {});

// The engine tells this global why it broke off; without it the reason is lost.
Object.assign(globalThis, {
  PRISMA_WASM_PANIC_REGISTRY: {
    set_message: (text: string) => {
      panic = text.split('\n').slice(0, 2).join(' ').slice(0, 300);
    },
  },
});

let loaded: Promise<void> | undefined;

/**
 * Runs something with Prisma's schema engine as WebAssembly: the engine of `prisma migrate` without the native
 * binary, which npm does not carry. Both fill `_prisma_migrations` alike, so they may be used in turn.
 */
export async function withEngine<T>(
  databaseUrl: string,
  use: (engine: bindings.SchemaEngine) => Promise<T>,
): Promise<T> {
  await (loaded ??= load());
  const { path, content } = await prismaSchema();
  const factory = wholeScriptAdapter(databaseUrl);
  try {
    const adapter = bindMigrationAwareSqlAdapterFactory(factory);
    const engine = await Promise.race([
      bindings.SchemaEngine.new({ datamodels: [[path, content]] }, () => {}, adapter),
      broken,
    ]);
    return await Promise.race([use(engine).finally(() => engine.free()), broken]);
  } finally {
    // The engine takes a lock of its own and gives it back only with its connection.
    await factory.close();
  }
}

/** The package's own entry imports the .wasm as a module, which Node does only behind a flag. */
async function load(): Promise<void> {
  const file = createRequire(import.meta.url)
    .resolve('@prisma/schema-engine-wasm/schema_engine_bg')
    .replace(/\.js$/, '.wasm');
  const { WebAssembly: wasm } = globalThis as unknown as { WebAssembly: WasmApi };
  const imports = { './schema_engine_bg.js': { ...bindings, ...guardedMicrotasks() } };
  const { instance } = await wasm.instantiate(await readFile(file), imports);
  const { __wbg_set_wasm: setWasm } = bindings as unknown as { __wbg_set_wasm(exports: object): void };
  setWasm(instance.exports);
  instance.exports.__wbindgen_start();
}

/**
 * A panic of the engine surfaces in the microtask that drives its future: uncaught, it would end the process while
 * the caller's promise stays pending. Here it rejects that promise instead. The names carry a hash of the build.
 */
function guardedMicrotasks(): Record<string, unknown> {
  const imports = Object.entries(bindings as unknown as Record<string, (word: unknown) => unknown>);
  const queueing = imports.filter(([name]) => name.startsWith('__wbg_queueMicrotask_'));
  return Object.fromEntries(queueing.map(([name, original]) => [name, guarded(original)]));
}

// One of the imports looks up queueMicrotask in the global object, the other calls it.
function guarded(original: (word: unknown) => unknown): (word: unknown) => unknown {
  return (word) =>
    typeof word === 'function' ? queueMicrotask(() => attempt(word as () => void)) : original(word);
}

function attempt(task: () => void): void {
  try {
    task();
  } catch (error) {
    breakOff(
      new Error(panic ? `the schema engine ${panic}` : `the schema engine broke off: ${String(error)}`),
    );
  }
}
