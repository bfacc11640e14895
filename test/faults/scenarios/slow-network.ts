import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

/** F21 and F22: not in every run, for it is slow by its nature. */
export const slowNetwork: Scenario = {
  name: 'slow-network',
  ci: false,
  what: 'bytes are 40 ms late, and one worker after the other is cut off from Postgres or Redis, or hears nothing',
  boundMs: 120_000,
  async run(world) {
    const { load, services, random } = world;
    for (const { postgres, redis } of services.all) [postgres.delayMs, redis.delayMs] = [40, 40];
    const running = load.run({ jobs: mixedJobs(80), atOnce: 4, pauseMs: 500, cancelShare: 0.1 });
    for (let round = 0; round < 6; round++) {
      await delay(1000);
      const victim = random.pick(services.workers);
      const kind = random.pick(['postgres', 'redis'] as const);
      if (!victim || !kind) continue;
      const silent = random.happens(0.5);
      world.fault(`${victim.name} is cut off from ${kind}${silent ? ', and its connections stay open' : ''}`);
      if (silent) victim[kind].silent = true;
      else victim[kind].partition();
      await delay(4000);
      victim[kind].heal();
      world.fault(`${victim.name} reaches ${kind} again`);
    }
    for (const { postgres, redis } of services.all) {
      postgres.heal();
      redis.heal();
    }
    await running;
  },
};
