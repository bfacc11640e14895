import { asyncModelRun, asyncProperty, check } from 'fast-check';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { isOutage } from '@app/platform/prisma/sql-errors.js';
import { brokenRules } from '../integration/store/invariants.js';
import { openStore, type Store } from '../integration/store/store-fixture.js';
import { type Sequence, sequences as sequencesOf } from './commands.js';
import { History } from './history.js';
import { newModel } from './model.js';
import { prepareView } from './view.js';

const TABLES = (
  'jobs tasks task_inputs task_outputs dispatch job_events cancellations ' +
  'cancel_stops catalog_calls idempotency_keys task_commits model_effects'
).split(' ');
/** Rows that are gone still cost every look at the tables, so these are emptied for good from time to time. */
const TRUNCATE_EVERY = 50;
/** The rules of the other tests of the store take twenty statements. */
const RULES_EVERY = 10;

/** Opens a migrated database of its own. */
export async function openLane(clients = 1): Promise<Store> {
  const store = await openStore(clients);
  await persist(() => prepareView(store.clients[0]!));
  return store;
}

/** Repeats what a busy machine gave no connection for: that tells nothing of the engine. */
async function persist<T>(run: () => Promise<T>, tries = 5): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (attempt === tries || !isOutage(error)) throw error;
    }
  }
}

/** Empties the tables of a lane. */
export async function emptyTables(
  client: Pick<PrismaClient, '$executeRawUnsafe'>,
  anew = true,
): Promise<void> {
  if (anew) await client.$executeRawUnsafe(`TRUNCATE ${TABLES.join(', ')}`);
  else {
    const parts = TABLES.slice(1).map((table, at) => `d${at} AS (DELETE FROM ${table})`);
    await client.$executeRawUnsafe(`WITH ${parts.join(', ')} DELETE FROM ${TABLES[0]}`);
  }
}

/** What a number of sequences have come to. */
export interface Lane {
  sequences: number;
  calls: number;
  /** The shortest sequence that shows it, and what it shows; undefined when nothing was broken. */
  violation: string | undefined;
}

/**
 * Runs sequences on a database of their own, each on empty tables, until one shows a violation, which is then shrunk.
 * @param shrink false: the first violation is told as it was met, and ends the other lanes too
 */
export async function runLane(
  runs: number,
  seed: number,
  shrink = true,
  over: { found: boolean } = { found: false },
): Promise<Lane> {
  const store = await openLane();
  const client = store.clients[0]!;
  let [begun, sequences, calls] = [0, 0, 0];
  const runOnce = async ([submit, rest]: Sequence) => {
    if (over.found && !shrink) return;
    await emptyTables(client, begun++ % TRUNCATE_EVERY === 0);
    const [model, world] = [newModel(), { client, history: new History(), calls: 0 }];
    if (submit.check(model)) await submit.run(model, world);
    await asyncModelRun(() => ({ model, real: world }), rest);
    const broken = begun % RULES_EVERY === 0 ? await brokenRules(client) : [];
    if (broken.length > 0) throw new Error(broken.join('\n'));
    sequences++;
    calls += world.calls;
  };
  try {
    const property = asyncProperty(sequencesOf, (sequence) => persist(() => runOnce(sequence)));
    const result = await check(property, { numRuns: runs, seed, endOnFailure: !shrink });
    if (!result.failed) return { sequences, calls, violation: undefined };
    over.found = true;
    const [submit, rest] = result.counterexample?.[0] ?? [];
    const error = (result.errorInstance as Error | undefined)?.message ?? 'it was interrupted';
    const violation = `seed ${seed}, path ${result.counterexamplePath}${String(submit)}${String(rest)}\n${error}`;
    return { sequences, calls, violation };
  } finally {
    await store.close();
  }
}
