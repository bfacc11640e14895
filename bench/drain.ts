import type { BullmqCommands } from './bullmq-program.js';
import type { LonghaulCommands } from './longhaul-program.js';
import type { Program } from './program.js';
import { startBullmq, startLonghaul } from './programs.js';
import { compare } from './rounds.js';
import type { Bench } from './with-services.js';

const LANES = 100;
const SHAPES = [
  { title: 'Drain, jobs of one task each', jobs: 4000, tasks: 1, repeats: 1 },
  { title: 'Drain, ten tasks per job', jobs: 400, tasks: 10, repeats: 1 },
  { title: 'Drain, one job of 500 tasks at a time', jobs: 1, tasks: 500, repeats: 8 },
];

/**
 * How fast one worker process empties a full queue of tasks that do nothing, 100 at a time and one message for each:
 * from the moment that it may take the first until the end of the last can be read, in Postgres for ours.
 */
export async function measureDrain(bench: Bench): Promise<void> {
  const [worker, producer, bareWorker, bareProducer] = await Promise.all([
    startLonghaul(bench, 'worker'),
    startLonghaul(bench, 'producer'),
    startBullmq(bench, 'worker'),
    startBullmq(bench, 'producer'),
  ]);
  try {
    for (const { title, jobs, tasks, repeats } of SHAPES) {
      await compare({
        title,
        unit: 'tasks',
        count: jobs * tasks * repeats,
        longhaul: () => times(repeats, () => drainLonghaul(worker, producer, jobs, tasks)),
        bullmq: () => times(repeats, () => drainBullmq(bareWorker, bareProducer, jobs * tasks)),
      });
    }
  } finally {
    await Promise.all([worker, producer, bareWorker, bareProducer].map((program) => program.stop()));
  }
}

async function drainLonghaul(
  worker: Program<LonghaulCommands>,
  producer: Program<LonghaulCommands>,
  jobs: number,
  tasks: number,
): Promise<number> {
  await worker.ask('pause');
  await producer.ask('submit', { jobs, tasks, lanes: LANES });
  return worker.ask('drain', { tasks: jobs * tasks });
}

async function drainBullmq(
  worker: Program<BullmqCommands>,
  producer: Program<BullmqCommands>,
  tasks: number,
): Promise<number> {
  await worker.ask('pause');
  await producer.ask('add', { count: tasks, lanes: LANES });
  return worker.ask('drain', { tasks });
}

async function times(count: number, measure: () => Promise<number>): Promise<number> {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += await measure();
  return sum;
}
