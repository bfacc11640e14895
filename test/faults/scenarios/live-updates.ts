import { setTimeout as delay } from 'node:timers/promises';
import { ApiUser } from '../../support/api-client.js';
import { type Hearing, LiveListener, nameOf } from '../harness/live-listener.js';
import type { World } from '../harness/world.js';
import type { Scenario } from '../scenario.js';

const CLIENTS = 50;
const JOBS = 500;
/** How long the clients may take to hear the end of it all. */
const HEARING_MS = 20_000;

/** Rows of these kinds made a state of a job or of a task; of others nobody is told. */
const TOLD = [
  ...['scheduled', 'rescheduled', 'queued', 'active', 'finalizing', 'completed', 'failed', 'canceled'].map(
    (status) => `job.${status}`,
  ),
  ...['active', 'completed', 'failed', 'retrying', 'paused', 'queued', 'canceled'].map(
    (status) => `tasks.${status}`,
  ),
];

/** Events that every client is to hear, by their names: what the ledger has, told apart. */
async function happened(world: World): Promise<Set<string>> {
  const rows = await world.query<{
    jobId: string;
    version: number;
    kind: string;
    task: { id: string; attempt?: number } | string | null;
  }>(`
    SELECT e.job_id::text AS "jobId", e.version, e.kind, t.task
    FROM job_events e LEFT JOIN LATERAL jsonb_array_elements(e.data->'tasks') t(task) ON true
    WHERE e.kind IN (${TOLD.map((kind) => `'${kind}'`).join(', ')})`);
  return new Set(
    rows.map(({ jobId, version, kind, task }) => {
      const [what = '', status = ''] = kind.replace('rescheduled', 'scheduled').split('.');
      if (what === 'job') return nameOf({ event: 'job-update', data: { jobId, version, status } });
      const { id: taskId = '', attempt } = typeof task === 'string' ? { id: task } : { ...task };
      const data = { jobId, taskId, status, ...(attempt === undefined ? {} : { attempt }) };
      return nameOf({ event: 'task-update', data });
    }),
  );
}

let listeners: LiveListener[] = [];

/** F27: who listens loses connections, a process and the hints. */
export const liveUpdates: Scenario = {
  name: 'live-updates',
  ci: false,
  what: `${CLIENTS} clients lose their connections again and again, one of two apis is killed, Redis is replaced: each hears of ${JOBS} jobs once and in order`,
  environment: { LIVE_CONNECTIONS: '1000', MAX_CONCURRENT_TASKS: '20' },
  workers: 1,
  boundMs: 60_000,
  async run(world) {
    const { load, services, servers, random } = world;
    const second = await services.start('api');
    await second.up();
    const users = () =>
      services.all
        .filter(({ name, isUp }) => name.startsWith('api') && isUp)
        .map(({ url }) => new ApiUser(url, world.key));
    listeners = Array.from({ length: CLIENTS }, () => new LiveListener(users, random.fork()));
    await Promise.all(listeners.map((listener) => listener.first));
    const jobs = Array.from({ length: JOBS }, (_, nth) => ({
      type: 'fault.work',
      payload: { durationMs: 20 + (nth % 7) * 30 },
      ...(nth % 5 === 0 ? { numTask: 3 } : {}),
    }));
    const running = load.run({ jobs, atOnce: 10, pauseMs: 40, cancelShare: 0.1, keyedShare: 1 });
    await delay(1500);
    world.fault('kill -9 of Redis');
    const redis = servers.replaceRedis(1000);
    await delay(500);
    const [victim] = services.all;
    world.fault(`kill -9 of ${victim?.name}`);
    victim?.kill();
    await redis;
    await running;
    listeners.forEach((listener) => listener.settle());
  },
  async after(world) {
    const all = await happened(world);
    const end = Date.now() + HEARING_MS;
    while (Date.now() < end && !listeners.every((listener) => listener.hasHeard(all))) await delay(200);
    // What would be told twice comes by now.
    await delay(1000);
    await Promise.all(listeners.map((listener) => listener.stop()));
    const heard = listeners.map((listener) => listener.judge(all));
    const sum = (key: keyof Hearing) => heard.reduce((total, one) => total + one[key], 0);
    const connections = listeners.reduce((total, one) => total + one.connections, 0);
    const figures = `gaps ${sum('gaps')}, repeats ${sum('repeats')}, out of order ${sum('disorders')}, snapshots ${sum('snapshots')}`;
    world.tell(`${CLIENTS} clients, ${connections} connections, ${all.size} events each: ${figures}`);
    if (connections < 3 * CLIENTS) throw new Error('The clients have hardly lost a connection.');
    if (sum('gaps') + sum('repeats') + sum('disorders') + sum('snapshots') > 0) throw new Error(figures);
  },
};
