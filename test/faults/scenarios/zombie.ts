import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

const LEASE_MS = 2000;

/** F2 and F3: a worker that has no processor for longer than its lease, and finds itself replaced. */
export const zombie: Scenario = {
  name: 'zombie',
  ci: true,
  what: 'SIGSTOP of a worker beyond its lease, a cancel of half of what it ran, SIGCONT: its late writes are refused',
  environment: { MAX_CONCURRENT_TASKS: '4' },
  workers: 2,
  boundMs: 90_000,
  async run(world) {
    const { load, services, random } = world;
    for (let round = 0; round < 2; round++) {
      const long = { type: 'fault.work', payload: { durationMs: 3000 } };
      const jobs = [...Array.from({ length: 10 }, () => long), ...mixedJobs(5)];
      const running = load.run({ jobs, atOnce: 8 });
      await world.untilActive(8);
      const victim = random.pick(services.workers);
      if (!victim) throw new Error('No worker is there to be stopped.');
      const held = await world.query<{ id: string }>(`
        SELECT DISTINCT t.job_id::text AS id FROM tasks t JOIN workers w ON w.id = t.worker
        WHERE t.status = 'active' AND w.pid = ${victim.pid} ORDER BY 1`);
      world.fault(`SIGSTOP of ${victim.name}`);
      victim.pause();
      await delay(LEASE_MS / 4);
      for (const { id } of held) if (random.happens(0.5)) await load.cancel(id);
      await delay(LEASE_MS * 1.5);
      world.fault(`SIGCONT of ${victim.name}`);
      victim.resume();
      await running;
    }
  },
};
