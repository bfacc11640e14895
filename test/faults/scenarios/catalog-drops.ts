import { setTimeout as delay } from 'node:timers/promises';
import type { LoadJob } from '../harness/load.js';
import type { Scenario } from '../scenario.js';

const MODES = ['apply-then-drop', 'apply-then-500', 'reset', 'hang'] as const;

/** F12 and F13. */
export const catalogDrops: Scenario = {
  name: 'catalog-drops',
  ci: true,
  what: 'the Catalog writes and then drops the reply, answers 500 or not at all, and learns of each job once',
  workers: 2,
  boundMs: 60_000,
  async run(world) {
    const { load, catalog, random } = world;
    const job: LoadJob = { type: 'fault.work', payload: { durationMs: 50 }, numTask: 2, catalog: true };
    const running = load.run({
      jobs: Array.from({ length: 40 }, () => job),
      atOnce: 4,
      pauseMs: 450,
      cancelShare: 0.1,
    });
    const first = random.between(0, MODES.length - 1);
    for (let round = 0; round < 2 * MODES.length; round++) {
      const mode = MODES[(first + round) % MODES.length] ?? 'reset';
      world.fault(`the next POSTs meet ${mode}`);
      catalog.script({ mode, times: random.between(1, 3), match: { method: 'POST' } });
      await delay(500);
    }
    await running;
    catalog.clearFaults();
    const posts = catalog.requests.filter((call) => call.method === 'POST' && call.status === null);
    if (posts.length === 0) throw new Error('No reply of the Catalog was dropped: the fault did not bite.');
  },
};
