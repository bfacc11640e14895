import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

const LATE_MS = 5000;

/** The fence alone, without the watch that a worker keeps over its own leases: its writes are under way already. */
export const lateWrites: Scenario = {
  name: 'late-writes',
  ci: true,
  what: 'what a worker sends to Postgres arrives 5 s late, when its lease of 2 s has ended and others have claimed: refused',
  environment: { MAX_CONCURRENT_TASKS: '6' },
  boundMs: 90_000,
  async run(world) {
    const { load, services, random } = world;
    const busy = { type: 'fault.work', payload: { durationMs: 300 }, numTask: 20 };
    const jobs = [...Array.from({ length: 6 }, () => busy), ...mixedJobs(20)];
    const running = load.run({ jobs, atOnce: 4, pauseMs: 600, cancelShare: 0.1 });
    for (let round = 0; round < 3; round++) {
      await world.untilActive(6);
      const victim = random.pick(services.workers);
      if (!victim) throw new Error('No worker is there to be slowed down.');
      world.fault(`the way from ${victim.name} to Postgres is slow`);
      victim.postgres.delayMs = LATE_MS;
      await delay(1000);
      victim.postgres.delayMs = 0;
      await delay(1500);
    }
    await running;
  },
  async after({ services }) {
    const refused = services.all.flatMap(({ log }) =>
      log.filter((line) => /a late result was refused/.test(line)),
    );
    if (refused.length === 0) throw new Error('No write came too late: the fault did not bite.');
  },
};
