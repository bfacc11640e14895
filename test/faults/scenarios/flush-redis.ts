import { mixedJobs, type Scenario } from '../scenario.js';

/** F4: everything that was queued is forgotten by Redis, while many tasks run. */
function flushRedis(size: { name: string; ci: boolean; queued: number; active: number }): Scenario {
  const { name, ci, queued, active } = size;
  return {
    name,
    ci,
    what: `FLUSHALL with ${queued} tasks queued and ${active} active; none is lost, none that runs is run again`,
    environment: { MAX_CONCURRENT_TASKS: String(Math.ceil(active / (ci ? 2 : 3))), LEASE: '5s' },
    workers: 2,
    boundMs: 90_000,
    async run(world) {
      const { load, servers } = world;
      const many = { type: 'fault.work', payload: { durationMs: 1000 }, numTask: 100 };
      const jobs = [...Array.from({ length: (queued + active) / 100 }, () => many), ...mixedJobs(10)];
      const running = load.run({ jobs, atOnce: 8, cancelShare: 0.1, cancelWithinMs: 5000 });
      // Not all of them at one moment: each is between two tasks for a part of its time.
      await world.untilActive(active / 2);
      world.fault('FLUSHALL');
      await servers.flushRedis();
      await running;
    },
  };
}

export const flushRedisSmall = flushRedis({ name: 'flush-redis', ci: true, queued: 900, active: 100 });
export const flushRedisLarge = flushRedis({
  name: 'flush-redis-large',
  ci: false,
  queued: 5000,
  active: 500,
});
