import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { JobType, type TaskContext, type TaskView } from '@app/core';
import { onDatabase } from '../../../scripts/db/database.js';
import { Proxy } from '../../faults/harness/proxy.js';
import { STATEMENTS } from '../../faults/harness/statements.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

jest.setTimeout(60_000);

/** In milliseconds: what it is to outlast must not be cut short by a machine that is busy with other things. */
const LEASE = 8000;

const Payload = z.object({ forMs: z.int().default(0) }).prefault({});

class Rest {
  async run({ payload }: TaskView<z.infer<typeof Payload>>, { signal }: TaskContext) {
    await delay(payload.forMs, undefined, { signal });
  }
}

@JobType({ name: 'test.untagged', payload: Payload, attempts: 1 })
class Untagged extends Rest {}

@JobType({ name: 'test.tagged', payload: Payload, tag: 'disk' })
class Tagged extends Rest {}

let database: TestDatabase;
let link: Proxy;
const engines: TestEngine[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  link = await Proxy.start(Number(new URL(database.url).port), 'postgres');
});
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.stop()));
  await link?.stop();
  await database?.drop();
});

async function start(redis: ReturnType<typeof testRedis>, databaseUrl = database.url): Promise<TestEngine> {
  const env = { MAX_CONCURRENT_TASKS: '1', SHUTDOWN_GRACE: '1s', LEASE: `${LEASE}ms` };
  const engine = await startEngine({ databaseUrl, redis, jobTypes: [Untagged, Tagged], env });
  engines.push(engine);
  return engine;
}
const sql = (text: string, jobId: string) =>
  onDatabase(database.url, async (client) => (await client.query(text, [jobId])).rows);

test('a message that a stopping worker has taken and not begun is run by another one soon', async () => {
  const redis = testRedis();
  const stopping = await start(redis);
  const { job: blocker } = await stopping.jobs.submit(
    { type: 'test.untagged', payload: { forMs: 60_000 } },
    ALICE,
  );
  await stopping.ended(blocker.jobId, ['active']);
  // Of another queue: it is taken, and waits for the slot.
  const { job: waiting } = await stopping.jobs.submit({ type: 'test.tagged' }, ALICE);
  await eventually(async () => {
    const ahead = `SELECT extract(epoch FROM look_again_at - now())::int AS s FROM dispatch WHERE job_id = $1`;
    expect(await sql(ahead, waiting.jobId)).toEqual([{ s: expect.any(Number) }]);
    // The sweeper has sent it a second time, which BullMQ drops, and will not look for a minute.
    expect((await sql(ahead, waiting.jobId))[0].s).toBeGreaterThan(30);
  });
  const other = await start(redis);
  await stopping.stop();
  expect((await other.ended(waiting.jobId, undefined, { timeout: 20_000 })).status).toBe('completed');
});

test('a claim whose reply is lost with the way to Postgres costs no attempt when that is back', async () => {
  const behind = new URL(database.url);
  behind.port = String(link.port);
  const engine = await start(testRedis(), behind.href);
  link.swallowCommits(STATEMENTS.claim, 1);
  const { job } = await engine.jobs.submit({ type: 'test.untagged' }, ALICE);
  await eventually(() => expect(link.swallowed).toBe(1));
  link.partition();
  const since = performance.now();
  // More than half of a lease, and less than one.
  await eventually(() => expect(performance.now() - since).toBeGreaterThan(LEASE / 2 + 100));
  link.heal();
  expect(await engine.ended(job.jobId)).toMatchObject({ status: 'completed' });
  expect(await sql('SELECT fence, attempt, crashes FROM tasks WHERE job_id = $1', job.jobId)).toEqual([
    { fence: 1, attempt: 1, crashes: 0 },
  ]);
});
