import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

const KILLS = 15;
const EVERY_MS = 2000;

/** F1 of the reliability reference. */
export const killWorkers: Scenario = {
  name: 'kill-workers',
  ci: true,
  what: 'kill -9 of a random worker every 2 s for 30 s under load; each is replaced at once',
  environment: { MAX_CONCURRENT_TASKS: '6' },
  boundMs: 90_000,
  async run(world) {
    const { load, services, random } = world;
    const running = load.run({ jobs: mixedJobs(60), atOnce: 2, pauseMs: 900, cancelShare: 0.1 });
    for (let kill = 0; kill < KILLS; kill++) {
      await delay(EVERY_MS);
      const victim = random.pick(services.workers);
      // On a busy machine a replacement may take longer than two seconds to come up.
      if (!victim) continue;
      world.fault(`kill -9 of ${victim.name}`);
      victim.kill();
      await services.start('task-worker');
    }
    await running;
  },
};
