import { setTimeout as delay } from 'node:timers/promises';
import type { Scenario } from '../scenario.js';

/** An outage longer than a lease: whoever ran is stopped, and what was queued in Redis must not be used up. */
export const postgresAway: Scenario = {
  name: 'postgres-away',
  ci: true,
  what: 'Postgres is away for longer than a lease while hundreds of tasks are queued; they go on when it is back',
  environment: { MAX_CONCURRENT_TASKS: '6' },
  workers: 2,
  boundMs: 40_000,
  async run(world) {
    const { load, servers } = world;
    const long = { type: 'fault.work', payload: { durationMs: 10_000 }, numTask: 12 };
    const short = { type: 'fault.work', payload: { durationMs: 50 }, numTask: 100 };
    await load.run({ jobs: [long, short, short], atOnce: 1 });
    await world.untilActive(8);
    // The first look of the sweeper is over then: each of them counts as sent for a minute.
    await delay(2500);
    world.fault('fast shutdown of Postgres');
    await servers.restartPostgres(3000);
    world.fault('Postgres is back');
  },
  async after(world) {
    const [row] = await world.query<{ paid: number }>(
      'SELECT count(*)::int AS paid FROM tasks WHERE attempt > 1 OR crashes > 0',
    );
    // A few may pay for a machine that is too busy to renew a lease in time, and not for the outage.
    if ((row?.paid ?? 0) > 4) throw new Error(`${row?.paid} tasks were charged for the outage of Postgres.`);
  },
};
