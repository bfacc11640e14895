import { discoverJobTypes } from '@app/engine/registry/discover-job-types.js';
import { apiUser } from '../support/api-client.js';
import { createTestDatabase } from '../support/database.js';
import { ALICE, startEngine } from '../support/engine.js';
import { testRedis } from '../support/redis.js';
import { serviceEnvironment, startService } from '../support/service.js';
import { Fuzz, type FuzzReport } from './fuzz.js';

/** Runs requests against an API of its own, on a database of its own that has jobs in several states. */
export async function fuzzService(seed: number, requests: number): Promise<FuzzReport> {
  const database = await createTestDatabase();
  const redis = testRedis();
  try {
    await makeJobs(database.url, redis);
    const service = await startService(
      serviceEnvironment(database.url, redis, { SERVICE_TYPE: 'api', LOG_LEVEL: 'info' }),
    );
    try {
      const users = [
        await apiUser(service, ALICE.ownerId, ['admin']),
        await apiUser(service, ALICE.ownerId),
        await apiUser(service, 'bob'),
        await apiUser(service, ALICE.ownerId, ['jobs:read']),
      ];
      const { url } = service;
      return await Fuzz.run({ url, databaseUrl: database.url, users, seed, requests });
    } finally {
      await service.stop();
    }
  } finally {
    await database.drop();
  }
}

/** Jobs that have run, for a worker would write by itself while the requests are made. */
async function makeJobs(databaseUrl: string, redis: ReturnType<typeof testRedis>): Promise<void> {
  const jobTypes = await discoverJobTypes(new URL('../../apps/service/src/job-types/', import.meta.url));
  const engine = await startEngine({ databaseUrl, redis, jobTypes });
  try {
    const submit = async (payload: { [key: string]: string | number | boolean }, numTask = 1) =>
      (await engine.jobs.submit({ type: 'demo.wait', payload, numTask, attempts: 1 }, ALICE)).job.jobId;
    const ended = [
      await submit({ durationMs: 1, result: 'x' }, 3),
      await submit({ durationMs: 1, failPermanently: true }),
    ];
    const runAt = new Date('2099-01-01T00:00:00Z');
    for (let count = 0; count < 20; count++) await engine.jobs.submit({ type: 'demo.wait', runAt }, ALICE);
    const canceled = await submit({ durationMs: 60_000 });
    // The Catalog is not there: these stay in finalization, for an administrator to resolve.
    const finalizing = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const input = { type: 'demo.wait', payload: { durationMs: 1 }, catalog: { name: 'x' } };
        return (await engine.jobs.submit(input, ALICE)).job.jobId;
      }),
    );
    for (const jobId of finalizing) await engine.ended(jobId, ['finalizing']);
    await engine.ended(canceled, ['active']);
    await engine.jobs.cancel(ALICE.ownerId, canceled, { actor: 'key:test', reason: 'enough' });
    for (const jobId of ended) await engine.ended(jobId);
  } finally {
    await engine.stop();
  }
}
