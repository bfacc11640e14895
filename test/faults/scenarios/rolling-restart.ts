import { setTimeout as delay } from 'node:timers/promises';
import { mixedJobs, type Scenario } from '../scenario.js';

/** F26 for the workers. */
export const rollingRestart: Scenario = {
  name: 'rolling-restart',
  ci: true,
  what: 'all workers are replaced one by one with SIGTERM: exit code 0, and resumable tasks pay nothing',
  environment: { MAX_CONCURRENT_TASKS: '4' },
  workers: 2,
  boundMs: 90_000,
  async run(world) {
    const { load, services } = world;
    const long = { type: 'fault.resume', payload: { steps: 40, stepMs: 150 } };
    const jobs = [...Array.from({ length: 6 }, () => long), ...mixedJobs(30)];
    const running = load.run({ jobs, atOnce: 4, pauseMs: 400, cancelShare: 0.05 });
    await world.untilActive(8);
    const old = services.workers;
    const fresh = [];
    for (let count = 0; count < old.length; count++) fresh.push(await services.start('task-worker'));
    // All at once, for on a busy machine they take long; the old ones work on meanwhile.
    await Promise.all(fresh.map((service) => service.up()));
    for (const worker of old) {
      world.fault(`SIGTERM of ${worker.name}`);
      const code = await worker.end();
      if (code !== 0) throw new Error(`${worker.name} ended with ${code} when it was asked to.`);
      await delay(500);
    }
    await running;
  },
  async after(world) {
    const paid = await world.query<{ id: string; attempt: number }>(`
      SELECT t.id::text AS id, t.attempt::int FROM tasks t JOIN jobs j ON j.id = t.job_id
      WHERE j.type = 'fault.resume' AND (t.attempt > 1 OR t.crashes > 0 OR t.status = 'failed')`);
    if (paid.length > 0) throw new Error(`${paid.length} resumable tasks paid for the restart.`);
  },
};
