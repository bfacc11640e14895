import { Queue, Worker } from 'bullmq';
import { Client, Pool } from 'pg';
import { v7 } from 'uuid';
import { HELD, LEAN_SCHEMA, LEAN_SQL } from './lean-sql.js';
import { answer, Counter } from './program.js';

// The least that a task with a record can be: nothing of ours is loaded. A worker of BullMQ claims and finishes each task
// in Postgres, in batches, and sends the messages itself.
const [redisUrl = '', databaseUrl = '', prefix = '', mode = ''] = process.argv.slice(2);
const QUEUE = 'lean';
const SLOTS = 100;
const WORKER = v7();
const MESSAGE = { removeOnComplete: true, removeOnFail: true };

/** Does what has come together while the batch before was written, in one call. */
class Batches<T, R> {
  private readonly waiting: { member: T; done: (result: R) => void; failed: (error: unknown) => void }[] = [];
  private writing = false;

  /** @param write answers one result for each member, in their order */
  constructor(private readonly write: (members: T[]) => Promise<R[]>) {}

  add(member: T): Promise<R> {
    return new Promise((done, failed) => {
      this.waiting.push({ member, done, failed });
      if (!this.writing) setImmediate(() => void this.flush());
      this.writing = true;
    });
  }

  private async flush(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, 500);
      try {
        const results = await this.write(batch.map(({ member }) => member));
        for (const [at, { done }] of batch.entries()) done(results[at]!);
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    this.writing = false;
  }
}

// As the engine's own sessions are.
const SESSION = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_mergejoin: 'off',
};
const options = Object.entries(SESSION)
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ');
const pool = new Pool({ connectionString: databaseUrl, max: 4, options });
const connection = { url: redisUrl, maxRetriesPerRequest: null };
const queue = new Queue(QUEUE, { connection, prefix });

const claims = new Batches<string, number | undefined>(async (ids) => {
  const { rows } = await pool.query({ name: 'claim', text: LEAN_SQL.claim, values: [ids, WORKER] });
  const fences = new Map(rows.map(({ id, fence }: { id: string; fence: number }) => [id, fence]));
  return ids.map((id) => fences.get(id));
});
const finishes = new Batches<{ id: string; fence: number }, void>(async (members) => {
  const values = [members.map(({ id }) => id), members.map(({ fence }) => fence)];
  await pool.query({ name: 'finish', text: LEAN_SQL.finish, values });
  return members.map(() => undefined);
});

/** Messages that wait in Redis, and whether there is more to send. */
const room = { waiting: 0, more: false, busy: false };
/** Sends more as soon as no more than one message for each slot is waiting. */
async function admit(most: number): Promise<void> {
  if (room.busy) return;
  room.busy = true;
  while (room.more && room.waiting <= SLOTS) {
    const { rows } = await pool.query({ name: 'admit', text: LEAN_SQL.admit, values: [most] });
    room.more = rows.length === most;
    room.waiting += rows.length;
    const messages = rows.map(({ id }: { id: string }) => ({
      name: 'task',
      data: {},
      opts: { ...MESSAGE, jobId: id },
    }));
    await queue.addBulk(messages);
  }
  room.busy = false;
}

const ran = new Counter();
const worker = new Worker(
  QUEUE,
  async ({ id = '' }) => {
    room.waiting--;
    if (mode === HELD) void admit(SLOTS);
    const fence = await claims.add(id);
    if (fence === undefined) throw new Error(`The task ${id} cannot be claimed.`);
    await finishes.add({ id, fence });
  },
  { connection, prefix, concurrency: SLOTS, removeOnComplete: { count: 0 } },
);
worker.on('completed', () => ran.add());

const commands = {
  /** Makes jobs of ten tasks each, and sends their messages: all, or as many as there are slots. */
  fill: async ({ tasks }: { tasks: number }) => {
    await queue.pause();
    const ids = Array.from({ length: tasks }, () => v7());
    const jobs = Array.from({ length: tasks / 10 }, () => v7());
    await pool.query(LEAN_SQL.accept, [jobs, ids, ids.map((_, at) => jobs[Math.floor(at / 10)])]);
    room.more = true;
    await admit(mode === HELD ? SLOTS : tasks);
  },
  /** Runs what is there; answers the milliseconds until the end of the last is committed. */
  drain: async ({ tasks }: { tasks: number }) => {
    const done = ran.until(tasks);
    const begun = performance.now();
    await queue.resume();
    await done;
    const took = performance.now() - begun;
    const { rowCount } = await pool.query('SELECT FROM lean.jobs WHERE finished_at IS NULL');
    if (rowCount !== 0) throw new Error(`${rowCount} jobs have not ended.`);
    return took;
  },
};
export type LeanCommands = typeof commands;

await worker.waitUntilReady();
const client = new Client({ connectionString: databaseUrl });
await client.connect();
await client.query(LEAN_SCHEMA);
await client.end();
answer(commands, async () => {
  await worker.close();
  await queue.close();
  await pool.end();
});
