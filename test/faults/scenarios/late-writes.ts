import { setTimeout as delay } from 'node:timers/promises';
import { STATEMENTS } from '../harness/statements.js';
import type { Scenario } from '../scenario.js';

const RUN_MS = 3000;
const LATE_MS = 4000;
const LATE = new RegExp(`${STATEMENTS.finish.source}|${STATEMENTS.renewal.source}`);

/**
 * The fence alone, without the watch that a worker keeps over its own leases: its writes are under way already. Each
 * task runs for 3 s under a lease of 2 s. From a second before its end on its worker renews no lease in time, and its finish
 * arrives 4 s late, when the lease has ended and the second attempt runs. All else passes: a finish that had to wait for a
 * connection would be dropped by the worker itself.
 */
export const lateWrites: Scenario = {
  name: 'late-writes',
  ci: true,
  what: 'a worker’s finishes arrive 4 s late, when their leases of 2 s have ended and others run the tasks: refused',
  environment: { MAX_CONCURRENT_TASKS: '6' },
  boundMs: 60_000,
  async run(world) {
    const { load, random } = world;
    for (let round = 0; round < 3; round++) {
      const jobs = [{ type: 'fault.work', payload: { durationMs: RUN_MS }, numTask: 10 }];
      await load.run({ jobs, atOnce: 1 });
      await world.untilActive(10);
      await delay(RUN_MS - 1000);
      // One that runs nothing would write nothing.
      const victim = random.pick(await world.busyWorkers());
      if (!victim) throw new Error('No worker runs anything that could come late.');
      world.fault(`the way from ${victim.name} to Postgres is slow`);
      victim.postgres.late = { match: LATE, ms: LATE_MS };
      await delay(1500);
      victim.postgres.late = undefined;
      await delay(LATE_MS + RUN_MS);
    }
  },
  async after({ services }) {
    const refused = services.all.flatMap(({ log }) =>
      log.filter((line) => /a late result was refused/.test(line)),
    );
    if (refused.length === 0) throw new Error('No write came too late: the fault did not bite.');
  },
};
