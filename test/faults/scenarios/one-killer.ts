import type { Scenario } from '../scenario.js';
import type { World } from '../harness/world.js';

const INNOCENTS = 9;
/** So long do the tasks run beside each other, in milliseconds, before one of them kills them all. */
const AFTER_MS = 500;
/** Long enough for all of them to be there when it does, however slow the machine is. */
const LONG_MS = 60_000;

/** With BullMQ and its default settings all nine would fail with the one. */
export const oneKiller: Scenario = {
  name: 'one-killer',
  ci: true,
  what: 'a task kills the worker in which nine others run: all nine complete, and it is found out',
  workers: 1,
  environment: { MAX_CONCURRENT_TASKS: '10', MAX_SANDBOXES: '5' },
  boundMs: 60_000,
  async run(world) {
    const { load, services } = world;
    // One worker takes them all, so that they run beside each other.
    for (const spare of services.workers.slice(1)) await spare.end();
    const innocents = Array.from({ length: INNOCENTS }, () => ({
      type: 'fault.work',
      payload: { durationMs: LONG_MS },
    }));
    await load.run({ jobs: innocents, atOnce: INNOCENTS });
    await world.untilActive(INNOCENTS);
    const [worker] = services.workers;
    if (!worker) throw new Error('No worker is there to be killed.');
    worker.mayDie();
    await load.run({ jobs: [{ type: 'fault.killer', payload: { afterMs: AFTER_MS } }], atOnce: 1 });
    await worker.ended;
    world.fault('a task has killed its worker');
    const running = await world.query(`SELECT FROM tasks WHERE status = 'active'`);
    if (running.length !== INNOCENTS + 1)
      throw new Error(`${running.length} tasks ran when the worker died: the fault did not bite.`);
    // Done again, they are quick.
    for (const table of ['jobs', 'task_inputs'])
      await world.query(
        `UPDATE ${table} SET payload = payload || '{"durationMs": ${AFTER_MS}}' WHERE payload->>'durationMs' = '${LONG_MS}'`,
      );
    await services.start('task-worker');
  },
  async after(world) {
    const jobs = await verdicts(world);
    const innocent = jobs.filter(({ type }) => type === 'fault.work');
    const killer = jobs.find(({ type }) => type === 'fault.killer');
    const completed = innocent.filter(({ status }) => status === 'completed').length;
    const deaths = world.services.all.filter(({ diedOfItself }) => diedOfItself).length;
    world.tell(
      `${completed} of ${INNOCENTS} innocents completed; the killer ended as ${killer?.code} after ${deaths} death of ` +
        `a worker and ${killer?.crashes} deaths alone, ${killer?.ms} ms after its submit; ${killer?.message}`,
    );
    if (completed !== INNOCENTS) throw new Error(`${completed} of ${INNOCENTS} innocents completed.`);
    if (innocent.some(({ crashes }) => crashes > 0)) throw new Error('An innocent was charged with a crash.');
    if (killer?.code !== 'crash_loop') throw new Error(`The killer ended as ${killer?.code}.`);
    if (deaths !== 1) throw new Error(`${deaths} workers died of one task.`);
  },
};

interface Verdict {
  type: string;
  status: string;
  code: string | null;
  message: string | null;
  crashes: number;
  ms: number;
}

function verdicts(world: World): Promise<Verdict[]> {
  return world.query<Verdict>(`
    SELECT j.type, j.status, j.error->>'code' AS code, j.error->>'message' AS message, t.crashes::int,
      round(extract(epoch FROM j.finished_at - j.created_at) * 1000)::int AS ms
    FROM jobs j JOIN tasks t ON t.job_id = j.id`);
}
