import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

/** F5, without persistence. */
export const replaceRedis: Scenario = {
  name: 'replace-redis',
  ci: true,
  what: 'Redis is killed and comes back empty 2 s later, twice, under load; jobs are accepted meanwhile',
  workers: 2,
  boundMs: 60_000,
  async run(world) {
    const { load, servers } = world;
    const running = load.run({ jobs: mixedJobs(40), atOnce: 4, pauseMs: 400, cancelShare: 0.15 });
    for (let times = 0; times < 2; times++) {
      await delay(2500);
      world.fault('kill -9 of Redis');
      await servers.replaceRedis(2000);
      world.fault('an empty Redis is there');
    }
    await running;
  },
};
