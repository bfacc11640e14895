import { MigrationError } from '../db/failure.js';
import { LocalStackError } from '../local/types.js';
import { endBy, watchForInterruption } from './interruption.js';
import { readOptions } from './options.js';
import { ensurePrismaClient } from './prisma-client.js';

const options = readOptions(process.argv.slice(2), process.env);
const say = (sentence: string) => console.log(sentence);
const interruption = watchForInterruption(say);

let done = false;
try {
  say('Starting a Postgres, a Redis, a simulated catalog and the service.');
  await ensurePrismaClient(say, interruption.signal);
  // Not before: it cannot even be loaded without the client.
  const { quickstart } = await import('./quickstart.js').catch(explainMissing);
  await quickstart(options, say, interruption);
  done = true;
} catch (error) {
  if (!interruption.signal.aborted) fail(error);
}
if (interruption.crash) fail(interruption.crash);
else if (interruption.by && !done && !process.exitCode) endBy(interruption.by);
// Whatever a library may have left open must not keep the terminal.
setTimeout(() => process.exit(), 2000).unref();

/** After a git pull a package may be wanted that was not when npm ci was run. */
function explainMissing(error: Error): never {
  const [, name] = /Cannot find (?:module|package) '([^'./][^']*)'/.exec(error.message) ?? [];
  throw name ? new LocalStackError(`The package ${name} is not installed: run npm ci first.`) : error;
}

function fail(error: unknown): void {
  const known =
    error instanceof LocalStackError ||
    error instanceof MigrationError ||
    (error as Error | undefined)?.name === 'ConfigError';
  console.error(known ? (error as Error).message : error);
  process.exitCode = 1;
}
