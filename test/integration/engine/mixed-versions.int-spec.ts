import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { z } from 'zod';
import { JobType, type JobTypeClass, type JobView, type TaskContext, type TaskView } from '@app/core';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

jest.setTimeout(90_000);

/** Which code has run, and the version of the payload that it was given. */
const runs: { code: string; payloadVersion: number }[] = [];

class Report {
  readonly code: string = 'old';
  async run(_task: TaskView<unknown>, { job }: TaskContext) {
    runs.push({ code: this.code, payloadVersion: job.payloadVersion });
  }
  async summarize(job: JobView) {
    return { code: this.code, payloadVersion: job.payloadVersion };
  }
}
@JobType({ name: 'test.report', payload: z.any(), attempts: 1 })
class OldReport extends Report {}
@JobType({ name: 'test.report', payload: z.any(), attempts: 1, version: 2 })
class NewReport extends Report {
  override readonly code = 'new';
}
@JobType({ name: 'test.added', payload: z.any(), attempts: 1 })
class Added extends Report {
  override readonly code = 'new';
}
const OLD = [OldReport];
const NEW = [NewReport, Added];

let database: TestDatabase;
let redis: ReturnType<typeof testRedis>;
const engines: TestEngine[] = [];

beforeEach(async () => {
  database = await createTestDatabase();
  redis = testRedis();
  runs.splice(0);
});
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.stop()));
  await database?.drop();
});

async function start(jobTypes: JobTypeClass[], executes = true): Promise<TestEngine> {
  const engine = await startEngine({ databaseUrl: database.url, redis, jobTypes, executes });
  engines.push(engine);
  return engine;
}
const taskOf = async (jobId: string) =>
  onDatabase(
    database.url,
    async (client) =>
      (await client.query('SELECT status, fence, attempt, crashes FROM tasks WHERE job_id = $1', [jobId]))
        .rows[0] as { status: string; fence: number; attempt: number; crashes: number },
  );

describe.each([
  ['a type', 'test.added'],
  ['the version of a type', 'test.report'],
])('a worker whose code lacks %s', (_what, type) => {
  test('leaves the task to the others, of whom one runs it soon', async () => {
    const [api] = await Promise.all([start(NEW, false), start(OLD)]);
    const { job } = await (api as TestEngine).jobs.submit({ type }, ALICE);
    const looks = new Set<string>();
    await eventually(async () => {
      looks.add(
        await onDatabase(database.url, async (client) => {
          const { rows } = await client.query<{ at: string }>(`SELECT looked_at::text AS at FROM queues`);
          return rows[0]?.at ?? '';
        }),
      );
      expect(looks.size).toBeGreaterThanOrEqual(4);
    });
    expect(await taskOf(job.jobId)).toEqual({ status: 'queued', fence: 0, attempt: 0, crashes: 0 });
    expect(await api?.jobs.find('alice', job.jobId)).toMatchObject({ status: 'queued', version: 1 });
    expect(runs).toEqual([]);
    await start(NEW);
    const ended = await (api as TestEngine).ended(job.jobId, undefined, { timeout: 20_000 });
    expect(ended).toMatchObject({ status: 'completed', error: null, result: { code: 'new' } });
    expect(await taskOf(job.jobId)).toEqual({ status: 'completed', fence: 1, attempt: 1, crashes: 0 });
    expect(runs).toHaveLength(1);
  });

  test('costs the jobs of a rolling deploy nothing', async () => {
    const [api] = await Promise.all([start(NEW, false), start(OLD), start(NEW)]);
    const jobs = await Promise.all(
      Array.from({ length: 8 }, () => (api as TestEngine).jobs.submit({ type }, ALICE)),
    );
    for (const { job } of jobs) {
      const ended = await (api as TestEngine).ended(job.jobId, undefined, { timeout: 25_000 });
      expect(ended).toMatchObject({ status: 'completed', result: { code: 'new' } });
      expect(await taskOf(job.jobId)).toMatchObject({ fence: 1, attempt: 1, crashes: 0 });
    }
    expect(runs).toHaveLength(8);
  });
});

test('newer code gets older payloads with their version, and its own with its own', async () => {
  const [old, api] = await Promise.all([start(OLD, false), start(NEW, false), start(NEW)]);
  for (const [engine, payloadVersion] of [
    [old, 1],
    [api, 2],
  ] as const) {
    const { job } = await (engine as TestEngine).jobs.submit({ type: 'test.report' }, ALICE);
    const ended = await (api as TestEngine).ended(job.jobId);
    expect(ended).toMatchObject({ status: 'completed', result: { code: 'new', payloadVersion } });
    expect(runs.at(-1)).toEqual({ code: 'new', payloadVersion });
  }
});
