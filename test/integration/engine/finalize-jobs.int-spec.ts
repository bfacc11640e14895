import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import {
  type CatalogEntry,
  JobType,
  type JobView,
  type Json,
  PermanentError,
  type TaskResults,
  type TaskView,
} from '@app/core';
import { withClient } from '@app/platform/prisma/open-client.js';
import { type RunningCatalog, startCatalog } from '../../../apps/catalog-sim/src/catalog-server.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { gate } from '../store/store-fixture.js';

const Payload = z.object({
  model: z.string(),
  count: z.int().default(3),
  fail: z.boolean().default(false),
  held: z.boolean().default(false).describe('its result is made when the test lets it'),
  metadata: z.any(),
});
type Payload = z.infer<typeof Payload>;
/** What held results wait for. */
let release = gate();

@JobType({ name: 'test.publish', payload: Payload, backoff: { kind: 'fixed', base: '10ms', cap: '10ms' } })
class Publish {
  async *plan({ payload }: JobView<Payload>) {
    for (let i = 0; i < payload.count; i++)
      yield { key: `part-${i}`, payload: { part: i, fail: payload.fail } };
  }
  async run({ payload }: TaskView<{ part: number; fail: boolean }>) {
    await delay(2);
    if (payload.fail && payload.part === 1) throw new PermanentError('broken part');
    return payload.part;
  }
  async summarize({ payload }: JobView<Payload>, results: TaskResults) {
    if (payload.held) await release.opened;
    const parts: Json[] = [];
    for await (const { result } of results) parts.push(result ?? null);
    return { parts };
  }
  catalog({ payload }: JobView<Payload>): CatalogEntry {
    return { id: payload.model, metadata: payload.metadata, links: [{ path: `${payload.model}/a b.json` }] };
  }
}

@JobType({ name: 'test.plain', payload: z.any() })
class Plain {
  async run() {}
}

let catalog: RunningCatalog;
let database: TestDatabase;
let engine: TestEngine;

beforeAll(async () => {
  [catalog, database] = await Promise.all([startCatalog(), createTestDatabase()]);
  engine = await startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [Publish, Plain],
    env: {
      CATALOG_URL: catalog.url,
      CATALOG_TIMEOUT: '1s',
      CATALOG_LINK_URL: 'http://models.test/base/',
      CATALOG_LINK_NAME: 'tiles',
    },
  });
});
afterAll(async () => {
  await engine?.stop();
  await Promise.all([catalog?.stop(), database?.drop()]);
});
beforeEach(() => {
  catalog.clearFaults();
  release = gate();
});
afterEach(() => release.open());

const metadata = { name: 'Town hall', nested: { height: 12.5, tags: ['a', null] }, text: 'ä \u2028 "q"' };
let models = 0;
const publish = async (more: object = {}) => {
  const model = `model-${++models}`;
  const { job } = await engine.jobs.submit(
    { type: 'test.publish', payload: { model, metadata, ...more } },
    ALICE,
  );
  return { model, jobId: job.jobId };
};
const calls = (model: string, method: string) =>
  catalog.requests.filter(
    (call) => call.method === method && (call.path.includes(model) || call.body.includes(`"${model}"`)),
  );

describe('a job that the Catalog is to know', () => {
  test('is completed after its record was written, once, with all metadata unchanged (features 39, 40)', async () => {
    const { model, jobId } = await publish({ held: true });
    const finalizing = await engine.ended(jobId, ['finalizing']);
    expect(finalizing).toMatchObject({ progress: 99, finishedAt: null, tasks: { total: 3, completed: 3 } });
    release.open();
    const done = await engine.ended(jobId);
    expect(done).toMatchObject({ status: 'completed', progress: 100, result: { parts: [0, 1, 2] } });
    const links = [
      {
        name: 'tiles',
        description: '',
        protocol: '3DTiles',
        url: `http://models.test/base/${model}/a%20b.json`,
      },
    ];
    expect(catalog.records().get(model)).toEqual({ ...metadata, id: model, links });
    const posts = calls(model, 'POST');
    expect(posts.map((call) => [call.idempotencyKey, call.status])).toEqual([[`${jobId}.1`, 201]]);
    expect(Date.parse(posts[0]?.at ?? '')).toBeLessThanOrEqual(done.finishedAt?.getTime() ?? 0);
  });

  test('is finalized by the Catalog only after all its tasks (feature 39)', async () => {
    const { model, jobId } = await publish({ count: 40 });
    await engine.ended(jobId);
    const ends = (await engine.jobs.tasks('alice', jobId, { limit: 100 }))?.map(
      (task) => task.finishedAt?.getTime() ?? Infinity,
    );
    expect(ends).toHaveLength(40);
    expect(Date.parse(calls(model, 'POST')[0]?.at ?? '')).toBeGreaterThanOrEqual(Math.max(...(ends ?? [])));
  });

  test.each(['apply-then-drop', 'apply-then-500'] as const)(
    'is asked for when the reply was lost (%s), and posted once (feature 39)',
    async (mode) => {
      catalog.script({ mode, match: { method: 'POST' } });
      const { model, jobId } = await publish();
      expect((await engine.ended(jobId)).status).toBe('completed');
      expect(calls(model, 'POST')).toHaveLength(1);
      expect(calls(model, 'GET').length).toBeGreaterThanOrEqual(1);
    },
  );

  test('is posted again when the Catalog does not have it', async () => {
    catalog.script(
      { mode: 'hang', match: { method: 'POST' } },
      { mode: 'reply', status: 503, match: { method: 'POST' } },
    );
    const { model, jobId } = await publish();
    expect((await engine.ended(jobId, undefined, { timeout: 20_000 })).status).toBe('completed');
    expect(new Set(calls(model, 'POST').map((call) => `${call.idempotencyKey} ${call.body}`)).size).toBe(1);
    expect(calls(model, 'POST')).toHaveLength(3);
  });

  test('fails when the Catalog refuses the record, and others go on', async () => {
    catalog.script({
      mode: 'reply',
      status: 422,
      body: { message: 'no such projection' },
      match: { method: 'POST', id: `model-${models + 1}` },
    });
    const [refused, other] = [await publish(), await publish()];
    const failed = await engine.ended(refused.jobId);
    expect(failed).toMatchObject({
      status: 'failed',
      error: { code: 'catalog_rejected' },
      result: { parts: [0, 1, 2] },
    });
    expect(failed.error?.message).toContain('no such projection');
    expect((await engine.ended(other.jobId)).status).toBe('completed');
  });

  test('never reaches the Catalog when a task failed, or was canceled', async () => {
    const failed = await publish({ fail: true });
    expect(await engine.ended(failed.jobId)).toMatchObject({
      status: 'failed',
      error: { message: 'broken part' },
    });
    const canceled = await publish({ count: 2000 });
    await engine.jobs.cancel('alice', canceled.jobId, { actor: 'test' });
    const after = await publish();
    await engine.ended(after.jobId);
    expect([...calls(failed.model, 'POST'), ...calls(canceled.model, 'POST')]).toEqual([]);
  });

  test('is completed without the Catalog when its plan yields nothing', async () => {
    const { model, jobId } = await publish({ count: 0 });
    expect(await engine.ended(jobId)).toMatchObject({
      status: 'completed',
      progress: 100,
      tasks: { total: 0 },
    });
    expect(calls(model, 'POST')).toEqual([]);
  });

  test('may bring its own metadata', async () => {
    const { job } = await engine.jobs.submit({ type: 'test.plain', catalog: { name: 'mine' } }, ALICE);
    expect((await engine.ended(job.jobId)).status).toBe('completed');
    expect(catalog.records().get(job.jobId)).toEqual({
      name: 'mine',
      id: job.jobId,
      links: [expect.objectContaining({ url: `http://models.test/base/${job.jobId}` })],
    });
  });

  test('refuses a cancel while it is finalized', async () => {
    const { jobId } = await publish({ held: true });
    await engine.ended(jobId, ['finalizing']);
    expect(await engine.jobs.cancel('alice', jobId, { actor: 'test' })).toEqual({
      kind: 'refused',
      status: 'finalizing',
    });
    release.open();
    expect((await engine.ended(jobId)).status).toBe('completed');
  });
});

test('a tick of the syncer mends the progress of an active job and touches no other (feature 38)', async () => {
  const rows = await withClient(database.url, async (client) => {
    const { job } = await engine.jobs.submit({ type: 'test.plain', tasks: [{}, {}, {}] }, ALICE);
    const done = await engine.ended(job.jobId);
    // As if a worker had written two of three tasks and the sum had been lost.
    const id = await seedDriftedJob(client);
    const mended = await eventually(async () => {
      const found = await engine.jobs.find('alice', id);
      expect(found?.progress).toBe(66);
      return found;
    });
    return { mended, done, after: await engine.jobs.find('alice', job.jobId) };
  });
  expect(rows.mended).toMatchObject({ status: 'active', progress: 66 });
  expect(rows.after).toEqual(rows.done);
});

async function seedDriftedJob(client: Parameters<Parameters<typeof withClient>[1]>[0]): Promise<string> {
  const [job] = await client.$queryRaw<{ id: string }[]>`
    INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, failure_policy, max_attempts, resumable, finalize,
      payload, tasks_total, tasks_completed, started_at)
    VALUES (gen_random_uuid(), 'alice', 'test', 'test.plain', 'default', 'active', 'fail-fast', 3, false, false, '{}', 3, 2, now())
    RETURNING id::text AS id`;
  const id = job?.id ?? '';
  for (let position = 0; position < 3; position++) {
    const done = position < 2;
    await client.$executeRaw`
      WITH t AS (
        INSERT INTO tasks (id, job_id, position, status, progress, finished_at)
        VALUES (gen_random_uuid(), ${id}::uuid, ${position}, ${done ? 'completed' : 'queued'}, ${done ? 100 : 0}, ${done ? new Date() : null})
        RETURNING id
      )
      INSERT INTO task_inputs (job_id, position, task_id) SELECT ${id}::uuid, ${position}, id FROM t`;
  }
  return id;
}
