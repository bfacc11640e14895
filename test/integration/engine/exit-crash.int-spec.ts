import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { calls, FatalExit } from './exit-worker.js';

jest.setTimeout(60_000);

let database: TestDatabase;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => (database = await createTestDatabase()));
afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await database?.drop();
});

const EXIT = `FROM dispatch WHERE id = $1 AND kind = 'exit'`;
const rows = (from: string, jobId: string) =>
  onDatabase(database.url, async (client) => (await client.query(`SELECT ${from}`, [jobId])).rows);

test('feature 30: the exit hook of a job whose worker is killed in it is run again with its key (feature 32)', async () => {
  const redis = testRedis();
  const loader = ['--import', '@swc-node/register/esm-register', 'test/integration/engine/exit-worker.ts'];
  const { NODE_OPTIONS: _options, ...env } = process.env;
  const worker = spawn(process.execPath, [...loader, database.url, redis.url, redis.prefix], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = createInterface({ input: worker.stdout });
  const api = await startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes: [FatalExit],
    executes: false,
  });
  stops.push(api.stop);
  const line = once(output, 'line') as Promise<[string]>;
  const { job } = await api.jobs.submit({ type: 'test.fatal-exit' }, ALICE);
  const [key] = await line;
  expect(key).toBe(`${job.jobId}.1`);
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  expect(await rows(EXIT, job.jobId)).toHaveLength(1);
  const other = await startEngine({ databaseUrl: database.url, redis, jobTypes: [FatalExit] });
  stops.push(other.stop);
  // Its turn has to end first.
  await eventually(() => expect(calls).toEqual([key]), { timeout: 20_000 });
  await eventually(async () => expect(await rows(EXIT, job.jobId)).toEqual([]));
  expect(await rows(`FROM job_events WHERE job_id = $1 AND kind = 'job.exited'`, job.jobId)).toHaveLength(1);
});
