import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const LOOK_MS = 500;
const CODE = /(?<!spec)\.ts$/;

/**
 * Tells the name of a file of code that has changed, each time some have. It looks at their times: that misses
 * nothing, however an editor saves, and costs a few milliseconds. Ends when the signal is aborted.
 */
export async function* codeChanges(
  root: string,
  folders: string[],
  signal: AbortSignal,
): AsyncGenerator<string> {
  let before = await times(root, folders);
  for (;;) {
    await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    const now = await times(root, folders);
    const changed = [...new Set([...before.keys(), ...now.keys()])].find(
      (file) => before.get(file) !== now.get(file),
    );
    before = now;
    if (changed) yield changed;
  }
}

async function times(root: string, folders: string[]): Promise<Map<string, number>> {
  const lists = await Promise.all(
    folders.map(async (folder) =>
      (await readdir(join(root, folder), { recursive: true }).catch(() => [])).map((file) =>
        join(folder, file),
      ),
    ),
  );
  const files = lists.flat().filter((file) => CODE.test(file));
  return new Map(
    await Promise.all(
      files.map(async (file): Promise<[string, number]> => {
        const found = await stat(join(root, file)).catch(() => undefined);
        return [file, found?.mtimeMs ?? 0];
      }),
    ),
  );
}
