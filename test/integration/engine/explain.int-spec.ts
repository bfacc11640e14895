import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { JobType, type WaitCode } from '@app/core';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { Explainer } from '@app/engine/explain.js';
import { admitTasks } from '@app/engine/store/admit-tasks.js';
import { pauseWork, resumeWork } from '@app/engine/store/pauses.js';
import { registerWorker } from '@app/engine/store/worker-records.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';

class Idle {
  async run() {}
}
@JobType({ name: 'test.plain', payload: z.any() })
class Plain extends Idle {}
@JobType({ name: 'test.few', payload: z.any(), concurrency: 1 })
class Few extends Idle {}
@JobType({ name: 'test.rated', payload: z.any(), rateLimit: { max: 1, per: '1h' } })
class Rated extends Idle {}
@JobType({ name: 'test.in-turn', payload: z.any(), exclusive: 'queue' })
class InTurn extends Idle {}
@JobType({ name: 'test.disk', payload: z.any(), tag: 'disk', version: 3 })
class Disk extends Idle {}

const TYPES = [Plain, Few, Rated, InTurn, Disk];
const BOB = { ownerId: 'bob', actor: 'key:bob' };
const LATER = new Date(Date.now() + 3_600_000);
let database: TestDatabase;
let api: TestEngine;
let accepting: TestEngine;
let end: () => void;
let closed: Promise<void>;
let sql: PrismaClient;

// No worker runs: the states are made as a worker would leave them, and stay. Who accepts the jobs has no Redis, and so
// sends nothing at once into the room that a state before has left.
beforeAll(async () => {
  database = await createTestDatabase();
  const env = { MAX_ACTIVE_PER_OWNER: '3' };
  const redis = testRedis();
  const options = { databaseUrl: database.url, jobTypes: TYPES, executes: false, env };
  api = await startEngine({ ...options, redis });
  accepting = await startEngine({ ...options, redis: { ...redis, url: 'redis://127.0.0.1:9' } });
  await new Promise<void>((ready) => {
    const over = new Promise<void>((resolve) => (end = resolve));
    closed = withClient(database.url, (client) => {
      sql = client;
      ready();
      return over;
    });
  });
});
afterAll(async () => {
  end?.();
  await closed;
  await Promise.all([api?.stop(), accepting?.stop()]);
  await database?.drop();
});
beforeEach(async () => {
  await sql.$executeRaw`TRUNCATE workers, jobs, tasks, task_inputs, dispatch, queues, type_starts, type_holders, catalog_calls`;
});

const submit = (type: string, over: object = {}, by = ALICE) =>
  accepting.jobs.submit({ type: `test.${type}`, ...over }, by).then(({ job }) => job.jobId);
const worker = (queues = ['default'], version = 3) =>
  registerWorker(sql, {
    id: randomUUID(),
    host: 'here',
    pid: 1,
    queues,
    tags: [],
    slots: 8,
    types: Object.fromEntries(
      ['plain', 'few', 'rated', 'in-turn', 'disk'].map((name) => [`test.${name}`, version]),
    ),
  });
/** A pass of a worker: as many tasks as there is room for, or so many. */
const admit = (waiting = 0) =>
  admitTasks(sql, {
    by: 'test',
    waiting: new Map([['default', waiting]]),
    limits: new Map([
      ['test.plain', { concurrency: undefined, rate: undefined, oneByOne: false }],
      ['test.few', { concurrency: 1, rate: undefined, oneByOne: false }],
      ['test.rated', { concurrency: undefined, rate: { max: 1, perMs: 3_600_000 }, oneByOne: false }],
      ['test.in-turn', { concurrency: undefined, rate: undefined, oneByOne: true }],
    ]),
    perOwner: 3,
    leaseMs: 60_000,
    incarnation: 'life',
  });
const change = (jobId: string, task: string, job = '') =>
  sql.$executeRawUnsafe(
    `WITH t AS (UPDATE tasks SET ${task} WHERE job_id = '${jobId}') UPDATE jobs SET ${job || 'version = version'} WHERE id = '${jobId}'`,
  );

/** Each makes a state and answers the job that is asked about, and what must be told of it. */
const STATES: [string, () => Promise<string>, WaitCode[]][] = [
  ['a scheduled job', () => submit('plain', { runAt: LATER }), ['scheduled']],
  ['a tag without a worker', () => worker().then(() => submit('disk')), ['no-worker', 'turn']],
  [
    'workers with older code',
    () => worker(['disk'], 2).then(() => submit('disk')),
    ['no-worker-of-type', 'turn'],
  ],
  ['no worker at all', () => submit('plain'), ['no-worker', 'turn']],
  ['one that is next', () => worker().then(() => submit('plain')), ['turn']],
  [
    'a paused type and a paused tag',
    async () => {
      await worker();
      for (const [kind, name] of [
        ['type', 'test.plain'],
        ['tag', 'default'],
      ] as const)
        await pauseWork(sql, { kind, name, actor: 'test', reason: null, until: LATER });
      return submit('plain');
    },
    ['paused-tag', 'paused-type', 'turn'],
  ],
  [
    'a type at its limit',
    async () => {
      await worker();
      await submit('few');
      await admit();
      return submit('few');
    },
    ['concurrency', 'turn'],
  ],
  [
    'a rate that is used up',
    async () => {
      await worker();
      await submit('rated');
      await admit();
      return submit('rated');
    },
    ['rate-limit', 'turn'],
  ],
  [
    'an exclusive type of which a job of somebody else runs',
    async () => {
      await worker();
      await submit('in-turn', {}, BOB);
      await admit();
      return submit('in-turn');
    },
    ['exclusive', 'turn'],
  ],
  [
    'an owner at its limit',
    async () => {
      await worker();
      await submit('plain', { numTask: 5 });
      await admit();
      return submit('plain');
    },
    ['owner-limit', 'turn'],
  ],
  [
    'a task that was sent',
    async () => {
      await worker();
      const jobId = await submit('plain');
      await admit();
      return jobId;
    },
    ['slot'],
  ],
  [
    'a task that waits for its next attempt',
    async () => {
      await worker();
      const jobId = await submit('plain');
      await admit();
      await change(jobId, `status = 'retrying', attempt = 1`, `status = 'active'`);
      await sql.$executeRaw`UPDATE dispatch SET gate = NULL, incarnation = '', look_again_at = ${LATER} WHERE job_id = ${jobId}::uuid`;
      return jobId;
    },
    ['retry-delay'],
  ],
  [
    'a retry that was sent',
    async () => {
      await worker();
      const jobId = await submit('plain');
      await admit();
      await change(jobId, `status = 'retrying', attempt = 1`, `status = 'active'`);
      return jobId;
    },
    ['slot'],
  ],
  [
    'a job behind many of a type that is paused',
    async () => {
      await worker();
      await pauseWork(sql, { kind: 'type', name: 'test.few', actor: 'test', reason: null, until: LATER });
      await submit('few', { numTask: 50 });
      const jobId = await submit('plain');
      await eventually(async () => {
        const told = await api.app.get(Explainer).explain('alice', jobId);
        expect(told?.reasons[0]?.message).toContain('is the next one');
      });
      await resumeWork(sql, 'type', 'test.few');
      return jobId;
    },
    ['turn'],
  ],
  [
    'a Catalog that has failed',
    async () => {
      const jobId = await submit('plain');
      await change(jobId, `status = 'completed', finished_at = now()`, `status = 'finalizing'`);
      await sql.$executeRaw`DELETE FROM dispatch WHERE job_id = ${jobId}::uuid`;
      await sql.$executeRaw`INSERT INTO dispatch (id, kind, job_id, queue, look_again_at) VALUES (${jobId}::uuid, 'finalize', ${jobId}::uuid, '', ${LATER})`;
      await sql.$executeRaw`INSERT INTO catalog_calls (job_id, generation, idempotency_key, body, attempts, last_error)
        VALUES (${jobId}::uuid, 1, 'k', '{}', 2, 'it answered 500')`;
      return jobId;
    },
    ['catalog-retry'],
  ],
  [
    'a job that runs',
    async () => {
      const jobId = await submit('plain');
      await sql.$executeRaw`UPDATE dispatch SET gate = NULL, look_again_at = ${LATER} WHERE job_id = ${jobId}::uuid`;
      await change(jobId, `status = 'active', lease_until = now() + interval '1 hour'`, `status = 'active'`);
      return jobId;
    },
    [],
  ],
  [
    'a job that was canceled',
    async () => {
      const jobId = await submit('plain');
      await api.jobs.cancel('alice', jobId, ALICE);
      return jobId;
    },
    [],
  ],
];

describe('an explanation by the rows', () => {
  test.each(STATES)('of %s', async (_name, make, codes) => {
    const jobId = await make();
    await eventually(async () => {
      const told = await api.app.get(Explainer).explain('alice', jobId);
      expect(told?.reasons.map(({ code }) => code)).toEqual(codes);
    });
    for (const [kind, name] of [
      ['type', 'test.plain'],
      ['tag', 'default'],
    ] as const)
      await resumeWork(sql, kind, name);
  });

  test('counts the turns that come before: the own tasks, and of each other owner no more than these', async () => {
    await worker();
    await submit('plain', { numTask: 4 });
    await submit('plain', { numTask: 50 }, BOB);
    await submit('plain', {}, { ownerId: 'carol', actor: 'key:carol' });
    const last = await submit('plain');
    await eventually(async () => {
      const [reason] = (await api.app.get(Explainer).explain('alice', last))!.reasons;
      expect(reason?.message).toMatch(/^10 tasks have their turn before/);
    });
    expect(await api.app.get(Explainer).explain('bob', last)).toBeUndefined();
  });
});
