import { mixedJobs, type Scenario } from '../scenario.js';

const QUEUED = 5000;
const ACTIVE = 500;
const WAITING = 200;

/** F4: everything that was queued is forgotten by Redis, while many tasks run and many jobs wait for their time. */
export const flushRedis: Scenario = {
  name: 'flush-redis',
  ci: true,
  what: `FLUSHALL with ${QUEUED} tasks queued, ${ACTIVE} active and ${WAITING} jobs waiting for runAt; none is lost, none that runs is run again`,
  environment: { MAX_CONCURRENT_TASKS: String(ACTIVE / 2), LEASE: '10s' },
  workers: 2,
  boundMs: 90_000,
  async run(world) {
    const { load, servers } = world;
    const many = { type: 'fault.work', payload: { durationMs: 1500 }, numTask: 250 };
    const later = { type: 'fault.work', payload: { durationMs: 50 }, dueInMs: 15_000 };
    const waiting = Array.from({ length: WAITING }, () => later);
    const busy = Array.from({ length: (QUEUED + ACTIVE) / 250 }, () => many);
    const running = load.run({
      jobs: [...waiting, ...busy, ...mixedJobs(10)],
      atOnce: 8,
      cancelShare: 0.05,
      cancelWithinMs: 5000,
    });
    // Not all of them at one moment: each is between two tasks for a part of its time.
    await world.untilActive(ACTIVE / 2);
    world.fault('FLUSHALL');
    await servers.flushRedis();
    await running;
  },
};
