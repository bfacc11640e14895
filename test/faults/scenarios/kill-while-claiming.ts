import { setTimeout as delay } from 'node:timers/promises';
import type { Scenario } from '../scenario.js';

/** The window between a message that was taken and the claim that it is for, made wide. */
export const killWhileClaiming: Scenario = {
  name: 'kill-while-claiming',
  ci: true,
  what: 'a worker that has taken messages, and whose claims do not reach Postgres, is killed: the tasks run elsewhere soon',
  environment: { MAX_CONCURRENT_TASKS: '4' },
  workers: 2,
  boundMs: 30_000,
  async run(world) {
    const { load, services } = world;
    const [victim] = services.workers;
    if (!victim) throw new Error('No worker is there to be killed.');
    victim.postgres.silent = true;
    const job = { type: 'fault.work', payload: { durationMs: 200 }, numTask: 40 };
    await load.run({ jobs: [job], atOnce: 1 });
    // Shorter than a claim waits for its answer: what is in hand is neither claimed nor given up.
    await delay(1500);
    world.fault(`kill -9 of ${victim.name}, which was claiming`);
    victim.kill();
  },
};
