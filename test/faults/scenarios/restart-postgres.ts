import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

/** F8, with a fast shutdown. */
export const restartPostgres: Scenario = {
  name: 'restart-postgres',
  ci: true,
  what: 'Postgres is stopped (fast) and started again, twice, under load and with a backlog; no process ends',
  boundMs: 60_000,
  async run(world) {
    const { load, servers } = world;
    const backlog = { type: 'fault.work', payload: { durationMs: 200 }, numTask: 50 };
    const jobs = [backlog, backlog, backlog, ...mixedJobs(30)];
    const running = load.run({ jobs, atOnce: 4, pauseMs: 300, cancelShare: 0.1 });
    for (let times = 0; times < 2; times++) {
      await delay(3000);
      world.fault('fast shutdown of Postgres');
      await servers.restartPostgres(700);
      world.fault('Postgres is back');
    }
    await running;
  },
};
