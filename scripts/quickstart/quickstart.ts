import { once } from 'node:events';
import type { Log } from '../local/types.js';
import { startEverything } from './everything.js';
import type { Interruption } from './interruption.js';
import type { QuickstartOptions } from './options.js';
import { showMainJob } from './tour.js';

/** Brings everything up, shows the main job, stays up unless told otherwise, and takes everything down again. */
export async function quickstart(
  options: QuickstartOptions,
  say: Log,
  { signal }: Interruption,
): Promise<void> {
  const everything = await startEverything(options, say, signal);
  let lastLine = '';
  try {
    lastLine = await showMainJob(everything, options, say, signal);
    if (!options.exit && !signal.aborted) await once(signal, 'abort');
  } finally {
    await everything.stop();
  }
  if (options.exit) say(lastLine);
}
