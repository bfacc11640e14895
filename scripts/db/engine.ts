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
  const imports = { './schema_engine_bg.js': repairedImports() };
  const { instance } = await wasm.instantiate(await readFile(file), imports);
  const { __wbg_set_wasm: setWasm } = bindings as unknown as { __wbg_set_wasm(exports: object): void };
  setWasm(instance.exports);
  instance.exports.__wbindgen_start();
}

type Import = (...words: unknown[]) => unknown;

/** The functions that the engine imports, two of them repaired; their names carry a hash of the build. */
function repairedImports(): Record<string, unknown> {
  const imports = Object.entries(bindings as unknown as Record<string, Import>);
  return Object.fromEntries(
    imports.map(([name, original]) => {
      if (name.startsWith('__wbg_queueMicrotask_')) return [name, guarded(original)];
      if (name.startsWith('__wbg_setTimeout_')) return [name, unheld(original)];
      return [name, original];
    }),
  );
}

/**
 * A panic surfaces in the microtask that drives the engine's future: uncaught, it would end the process while the
 * caller's promise stays pending. Here it rejects that promise. (One import of this name only looks the global up.)
 */
function guarded(original: Import): Import {
  return (word) =>
    typeof word === 'function' ? queueMicrotask(() => attempt(word as () => void)) : original(word);
}

/** The engine never clears its ten seconds for getting the lock: they must not keep the program from ending. */
function unheld(original: Import): Import {
  return (...words) => {
    const timer = original(...words);
    if (typeof timer === 'object' && timer && 'unref' in timer) (timer as NodeJS.Timeout).unref();
    return timer;
  };
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
