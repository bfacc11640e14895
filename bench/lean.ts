import { describeMachine } from './machine.js';
import { HELD } from './lean-sql.js';
import { buildPrograms, startBullmq, startLean } from './programs.js';
import { compare } from './rounds.js';
import { withServices } from './with-services.js';

const TASKS = 4000;
const MODES = [
  { mode: HELD, title: 'Lean drain, messages sent when there is room' },
  { mode: 'ahead', title: 'Lean drain, all messages sent before' },
];

/**
 * How fast tasks with a record could be at all, beside bare BullMQ: a program that does nothing but claim, finish and count
 * tasks in Postgres, in batches, under leases and fences, and tell it in a row of events. What the engine drains can be
 * compared with it: no policy, no retry, no deadline, no live update, no notice, no Prisma.
 */
export async function measureLean(): Promise<void> {
  await buildPrograms();
  await withServices(async (bench) => {
    console.log(await describeMachine(bench));
    for (const { mode, title } of MODES) {
      const [lean, worker, producer] = await Promise.all([
        startLean(bench, mode),
        startBullmq(bench, 'worker'),
        startBullmq(bench, 'producer'),
      ]);
      try {
        await compare({
          title,
          unit: 'tasks',
          count: TASKS,
          name: 'lean',
          longhaul: async () => {
            await lean.ask('fill', { tasks: TASKS });
            return lean.ask('drain', { tasks: TASKS });
          },
          bullmq: async () => {
            await worker.ask('pause');
            await producer.ask('add', { count: TASKS, lanes: 100 });
            return worker.ask('drain', { tasks: TASKS });
          },
        });
      } finally {
        await Promise.all([lean, worker, producer].map((program) => program.stop()));
      }
    }
  });
}
