import { startBullmq, startLonghaul } from './programs.js';
import { compare } from './rounds.js';
import type { Bench } from './with-services.js';

const LANES = 100;
const SUBMITS = 2000;
const BULKS = 10;
const BULK = 500;

/**
 * How fast one process accepts work that no worker takes meanwhile: ours is committed in Postgres, and its messages
 * follow on their own; bare BullMQ's is in Redis.
 */
export async function measureAccept(bench: Bench): Promise<void> {
  const [longhaul, bullmq] = await Promise.all([
    startLonghaul(bench, 'producer'),
    startBullmq(bench, 'producer'),
  ]);
  try {
    await compare({
      title: 'Accept, 100 submits in flight',
      unit: 'jobs',
      count: SUBMITS,
      longhaul: () => longhaul.ask('submit', { jobs: SUBMITS, tasks: 1, lanes: LANES }),
      bullmq: () => bullmq.ask('add', { count: SUBMITS, lanes: LANES }),
    });
    await compare({
      title: 'Accept, one job of 500 tasks after the other against addBulk of 500',
      unit: 'tasks',
      count: BULKS * BULK,
      longhaul: () => longhaul.ask('submit', { jobs: BULKS, tasks: BULK, lanes: 1 }),
      bullmq: () => bullmq.ask('addBulks', { bulks: BULKS, size: BULK }),
    });
  } finally {
    await Promise.all([longhaul.stop(), bullmq.stop()]);
  }
}
