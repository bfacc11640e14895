import { setTimeout as delay } from 'node:timers/promises';
import { MigrationError } from '../db/failure.js';
import { LocalStackError } from '../local/types.js';
import { readOptions } from './options.js';
import { startEverything } from './everything.js';
import { showMainJob } from './tour.js';

const options = readOptions(process.argv.slice(2), process.env);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (interrupted.signal.aborted) console.log('Still stopping: what runs is brought to its end first.');
    interrupted.abort();
  });
}

const say = (sentence: string) => console.log(sentence);

/** Brings everything up, shows the main job, and takes everything down again. Answers the exit code. */
async function quickstart(): Promise<number> {
  const everything = await startEverything(options, say, interrupted.signal);
  try {
    await showMainJob(everything, options, interrupted.signal);
    if (options.exit) return 0;
    await forever(interrupted.signal);
    return 0;
  } finally {
    if (!options.exit || interrupted.signal.aborted) say('\nStopping.');
    await everything.stop();
  }
}

async function forever(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await delay(3_600_000, undefined, { signal }).catch(() => {});
}

try {
  process.exitCode = await quickstart();
} catch (error) {
  if (interrupted.signal.aborted) {
    process.exitCode = 130;
  } else {
    const known = error instanceof LocalStackError || error instanceof MigrationError;
    console.error(known ? error.message : error);
    process.exitCode = 1;
  }
}
// Whatever a library may have left open must not keep the terminal.
setTimeout(() => process.exit(), 2000).unref();
