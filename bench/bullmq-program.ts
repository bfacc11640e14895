import { Queue, Worker } from 'bullmq';
import { answer, Counter, inFlight } from './program.js';

// Bare BullMQ, to compare with: a worker whose tasks do nothing, or a producer. Nothing of ours is loaded.
const [role, url = '', prefix = ''] = process.argv.slice(2);
const QUEUE = 'bare';
const MESSAGE = { name: 'task', data: {}, opts: { removeOnComplete: true, removeOnFail: true } };

const commands = {
  /** Adds tasks one by one. */
  add: ({ count, lanes }: { count: number; lanes: number }) =>
    inFlight(count, lanes, () => queue.add(MESSAGE.name, MESSAGE.data, MESSAGE.opts)),
  /** Adds tasks in bulks, one after the other. */
  addBulks: ({ bulks, size }: { bulks: number; size: number }) =>
    inFlight(bulks, 1, () => queue.addBulk(Array.from({ length: size }, () => MESSAGE))),
  pause: () => queue.pause(),
  /** Lets the worker take what is there; answers the milliseconds until the last is done. */
  drain: async ({ tasks }: { tasks: number }) => {
    const done = completed.until(tasks);
    const begun = performance.now();
    await queue.resume();
    await done;
    return performance.now() - begun;
  },
};
export type BullmqCommands = typeof commands;

const connection = { url, maxRetriesPerRequest: null };
const queue = new Queue(QUEUE, { connection, prefix });
const completed = new Counter();
const worker =
  role === 'worker'
    ? new Worker(QUEUE, async () => {}, {
        connection,
        prefix,
        concurrency: 100,
        removeOnComplete: { count: 0 },
      })
    : undefined;
worker?.on('completed', () => completed.add());
await worker?.waitUntilReady();
answer(commands, async () => {
  await worker?.close();
  await queue.close();
});
