import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import type { JobInput } from '@app/core';
import { Pauses } from '@app/engine/pauses.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { type SinkMode, SmtpSink } from '../support/smtp-sink.js';
import { CASE_TYPES, gate, sql } from './probe.js';

jest.setTimeout(90_000);
const PATIENCE = { timeout: 40_000 };

const redis = testRedis();
const [ANN, BOB, CAT] = ['ann@example.com', 'bob@example.com', 'cat@example.com'];
let database: TestDatabase;
let sink: SmtpSink;
let engine: TestEngine;
/** A second process would be one more engine on the same database. */
let other: TestEngine;

const settings = () => ({
  SMTP_URL: sink.url,
  MAIL_FROM: 'Longhaul <jobs@longhaul.example>',
  // Longer than anything takes: nothing here waits for it.
  MAIL_TIMEOUT: '20s',
  PUBLIC_URL: 'https://jobs.example.com',
  NOTICE_RETRY: '10ms',
  MAIL_RATE: '100',
});
const start = (env: Record<string, string> = {}, executes = true) =>
  startEngine({
    databaseUrl: database.url,
    redis,
    jobTypes: CASE_TYPES,
    executes,
    env: { ...settings(), LEASE: '6s', ...env },
  });

beforeAll(async () => {
  [database, sink] = await Promise.all([createTestDatabase(), SmtpSink.start()]);
  [engine, other] = await Promise.all([start(), start()]);
}, 60_000);
afterEach(() => {
  sink.become('works');
  sink.welcome = () => undefined;
  sink.accepts = () => undefined;
  sink.holds = () => false;
});
afterAll(async () => {
  await Promise.all([engine?.stop(), other?.stop()]);
  await sink?.stop();
  await database?.drop();
});

const submit = async (input: Partial<JobInput> = {}, on = engine) =>
  (await on.jobs.submit({ type: 'case.work', ...input }, ALICE)).job.jobId;
const FAILS = { permanent: true };
const notices = (jobId: string) =>
  sql<{ recipient: string; status: string; attempts: number; error: string | null; code: number | null }>(
    database.url,
    'SELECT recipient, status, attempts, error, code FROM deliveries WHERE job_id = $1::uuid ORDER BY recipient',
    jobId,
  );
/** What waits for another try is due now: later pauses are long. What is being tried stays with who tries it. */
const hurry = () =>
  sql(
    database.url,
    `UPDATE deliveries SET look_again_at = now() WHERE status = 'waiting' AND NOT trying AND event <> 'digest'`,
  );
/** Waits until nothing of a job is to be told any more. @param look what is done before each look */
const told = (jobId: string, look: () => Promise<unknown> = () => Promise.resolve()) =>
  eventually(async () => {
    await look();
    const [outbox] = await sql<{ count: string }>(
      database.url,
      'SELECT count(*) FROM outbox WHERE job_id = $1::uuid',
      jobId,
    );
    const rows = await notices(jobId);
    expect([outbox?.count, rows.filter(({ status }) => status === 'waiting')]).toEqual(['0', []]);
    return rows;
  }, PATIENCE);

test('feature 21: a job that fails is told of once, after its last attempt, with what, why, when and a link', async () => {
  const jobId = await submit({
    payload: { failFirst: 9 },
    labels: { project: '<b>north</b>' },
    notify: { email: [ANN] },
  });
  await engine.ended(jobId, ['failed']);
  await told(jobId);
  const [mail, ...more] = sink.for(ANN);
  expect(more).toEqual([]);
  expect(mail).toMatchObject({
    subject: `Job failed: case.work (${jobId})`,
    from: '"Longhaul" <jobs@longhaul.example>',
    messageId: expect.stringMatching(/^<[0-9a-f-]{36}@longhaul\.example>$/),
  });
  const { finishedAt } = await engine.ended(jobId);
  for (const part of [
    jobId,
    'handler_error: broken',
    finishedAt?.toISOString(),
    `https://jobs.example.com/jobs/${jobId}`,
    'project=<b>north</b>',
  ])
    expect(mail?.text).toContain(part);
  expect(mail?.html).toContain(`<a href="https://jobs.example.com/jobs/${jobId}">`);
  expect(mail?.html).toContain('project=&lt;b&gt;north&lt;/b&gt;');
  expect(mail?.headers).toContain('auto-submitted');
});

test('feature 21: a success is told of only to who wants that', async () => {
  const quiet = await submit({ notify: { email: ['quiet@example.com'] } });
  const loud = await submit({ notify: { email: ['loud@example.com'], on: ['completed'] } });
  await Promise.all([engine.ended(quiet), engine.ended(loud)]);
  expect(await told(quiet)).toEqual([]);
  await eventually(() => expect(sink.for('loud@example.com')).toHaveLength(1));
  expect(sink.for('quiet@example.com')).toEqual([]);
});

test('C72: a job of 100 tasks that all fail, with three attempts and two processes, is one mail, after the last attempt', async () => {
  const jobId = await submit({
    payload: { failFirst: 9 },
    numTask: 100,
    failurePolicy: 'continue',
    notify: { email: ['many@example.com'] },
  });
  const { finishedAt, tasks } = await engine.ended(jobId, ['failed'], PATIENCE);
  expect(tasks.failed).toBe(100);
  const [delivery] = await sql<{ created_at: Date }>(
    database.url,
    'SELECT created_at FROM deliveries WHERE job_id = $1::uuid',
    await eventually(async () =>
      (await told(jobId)).length === 1 ? jobId : Promise.reject(new Error('none')),
    ),
  );
  expect(delivery!.created_at.getTime()).toBeGreaterThanOrEqual(finishedAt!.getTime());
  expect(sink.for('many@example.com')).toHaveLength(1);
});

test('C73: a canceled job, whatever state it was in, is told of in no mail', async () => {
  const notify = { email: ['canceled@example.com'], on: ['failed', 'completed'] as const };
  const input = { notify: { ...notify, on: [...notify.on] } };
  const later = new Date(Date.now() + 3_600_000);
  const pauses = engine.app.get(Pauses);
  const pause = { kind: 'type', name: 'case.timed', actor: ALICE.actor, reason: null, until: null } as const;
  await pauses.pause(pause);
  const queued = await submit({ ...input, type: 'case.timed' });
  const scheduled = await submit({ ...input, runAt: later });
  const active = await submit({ ...input, payload: { gate: 'C73' } });
  const retrying = await submit({ ...input, type: 'case.patient', payload: { failFirst: 9 } });
  const stubborn = await submit({ ...input, payload: { gate: 'C73', ignores: true } });
  await Promise.all([active, retrying, stubborn].map((jobId) => engine.ended(jobId, ['active'])));
  // The Catalog is not there.
  const finalizing = await submit({ ...input, catalog: { name: 'x' } });
  await engine.ended(finalizing, ['finalizing']);
  expect(await engine.jobs.cancel(ALICE.ownerId, finalizing, ALICE)).toMatchObject({ kind: 'refused' });
  const all = [scheduled, queued, active, retrying, stubborn];
  for (const jobId of all) await engine.jobs.cancel(ALICE.ownerId, jobId, ALICE);
  // Also for who comes to it only now.
  gate('C73').open();
  // What comes after them is told of, so they have been passed by.
  const after = await submit({ payload: FAILS, notify: { email: ['after@example.com'] } });
  await engine.ended(after);
  await eventually(() => expect(sink.for('after@example.com')).toHaveLength(1));
  await pauses.resume('type', 'case.timed', ALICE);
  for (const jobId of [...all, finalizing])
    expect({ jobId, told: await told(jobId) }).toEqual({ jobId, told: [] });
  expect(sink.for('canceled@example.com')).toEqual([]);
});

test.each<SinkMode>(['refuses', 'hangs', 'drops'])(
  'C74: while the SMTP server %s jobs end as ever, and each recipient gets each mail once when it works again',
  async (mode) => {
    sink.become(mode);
    const to = [`${mode}-1@example.com`, `${mode}-2@example.com`];
    const failing = await Promise.all(
      Array.from({ length: 5 }, () => submit({ payload: FAILS, notify: { email: to } })),
    );
    const working = await Promise.all(Array.from({ length: 5 }, () => submit()));
    for (const jobId of failing) expect((await engine.ended(jobId)).status).toBe('failed');
    for (const jobId of working) expect((await engine.ended(jobId)).status).toBe('completed');
    await eventually(async () => {
      const tried = (await Promise.all(failing.map(notices))).flat();
      expect(tried.filter(({ attempts }) => attempts > 0).length).toBeGreaterThan(3);
    }, PATIENCE);
    expect(sink.taken.filter((mail) => to.includes(mail.to))).toEqual([]);
    sink.become('works');
    for (const jobId of failing) {
      const rows = await told(jobId, hurry);
      expect(rows.map(({ status }) => status)).toEqual(['delivered', 'delivered']);
    }
    for (const address of to) {
      const subjects = sink.for(address).map(({ subject }) => subject);
      expect(subjects.toSorted()).toEqual(
        failing.map((jobId) => `Job failed: case.work (${jobId})`).toSorted(),
      );
      // Whatever came before was the same message.
      expect(new Set(sink.tries.get(address)).size).toBe(5);
    }
  },
);

test('C75: one recipient of three who is put off for now is tried again, and nobody else is', async () => {
  const [one, two, three] = ['c75-1@example.com', 'c75-2@example.com', 'c75-3@example.com'];
  let refusals = 0;
  sink.welcome = (address) => (address === three && refusals++ === 0 ? 451 : undefined);
  const jobId = await submit({ payload: FAILS, notify: { email: [one, two, three] } });
  await engine.ended(jobId);
  const rows = await eventually(async () => {
    const rows = await told(jobId);
    expect(rows).toHaveLength(3);
    return rows;
  });
  expect(rows.map(({ status, attempts }) => [status, attempts])).toEqual([
    ['delivered', 1],
    ['delivered', 1],
    ['delivered', 2],
  ]);
  for (const address of [one, two, three]) expect(sink.for(address)).toHaveLength(1);
});

test('a recipient who is refused for good is recorded with the reason, and the others are told', async () => {
  sink.welcome = (address) => (address === BOB ? 550 : undefined);
  const before = sink.for(CAT).length;
  const jobId = await submit({ payload: FAILS, notify: { email: [BOB, CAT] } });
  await engine.ended(jobId);
  const rows = await eventually(async () => {
    const rows = await told(jobId);
    expect(rows).toHaveLength(2);
    return rows;
  });
  expect(rows).toMatchObject([
    { recipient: BOB, status: 'failed', attempts: 1, code: 550, error: expect.stringContaining('not now') },
    { recipient: CAT, status: 'delivered' },
  ]);
  expect([sink.for(BOB).length, sink.for(CAT).length - before]).toEqual([0, 1]);
});

test('C72: what comes too fast for single mails is told of in one digest at the end of the window', async () => {
  const flood = 'flood@example.com';
  const fail = async () => {
    const jobId = await submit({ payload: FAILS, notify: { email: [flood] } });
    await engine.ended(jobId);
    return jobId;
  };
  await fail();
  await eventually(() => expect(sink.for(flood)).toHaveLength(1));
  // As if it had had as many as it may.
  await sql(database.url, 'UPDATE mail_windows SET count = 100 WHERE recipient = $1', flood);
  const more = [await fail(), await fail(), await fail()];
  for (const jobId of more)
    await eventually(async () => expect(await notices(jobId)).toMatchObject([{ status: 'collected' }]));
  expect(sink.for(flood)).toHaveLength(1);
  await sql(
    database.url,
    `UPDATE deliveries SET look_again_at = now() WHERE recipient = $1 AND event = 'digest'`,
    flood,
  );
  const digest = await eventually(() => sink.for(flood)[1] ?? Promise.reject(new Error('no digest')));
  expect(digest.subject).toBe('3 more jobs of alice failed');
  for (const jobId of more) {
    expect(digest.text).toContain(`${jobId}: handler_error: broken for good`);
    expect(digest.html).toContain(`https://jobs.example.com/jobs/${jobId}`);
  }
});

test('a job that is retried and fails again is told of again', async () => {
  const jobId = await submit({ payload: FAILS, notify: { email: ['twice@example.com'] } });
  await engine.ended(jobId);
  await engine.jobs.retry(ALICE.ownerId, jobId, ALICE);
  await eventually(() => expect(sink.for('twice@example.com')).toHaveLength(2));
  expect(new Set(sink.for('twice@example.com').map(({ messageId }) => messageId)).size).toBe(2);
});

test('C75: a process that is killed between two recipients repeats at most the one, under the same Message-ID', async () => {
  const [one, two, three] = ['kill-1@example.com', 'kill-2@example.com', 'kill-3@example.com'];
  await Promise.all([engine.stop(), other.stop()]);
  // Runs the jobs, and has no SMTP server to tell of them.
  const silent = await start({ SMTP_URL: '' });
  const accepting = await start({}, false);
  const jobId = await submit({ payload: FAILS, notify: { email: [one, two, three] } }, accepting);
  await eventually(async () => expect(await notices(jobId)).toHaveLength(3));
  await Promise.all([silent.stop(), accepting.stop()]);
  sink.holds = (address) => address === three;
  const file = new URL('./notices-worker.ts', import.meta.url).pathname;
  const args = ['--import', '@swc-node/register/esm-register', file, database.url, redis.url, redis.prefix];
  const doomed = spawn(process.execPath, [...args, JSON.stringify({ ...settings(), LEASE: '4s' })], {
    stdio: 'inherit',
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
  });
  await eventually(async () => {
    const rows = await notices(jobId);
    expect(rows.map(({ status }) => status)).toEqual(['delivered', 'delivered', 'waiting']);
    expect(sink.tries.get(three)).toHaveLength(1);
  }, PATIENCE);
  doomed.kill('SIGKILL');
  await once(doomed, 'exit');
  sink.holds = () => false;
  engine = await start();
  other = engine;
  const rows = await told(jobId);
  expect(rows.map(({ status, attempts }) => [status, attempts])).toEqual([
    ['delivered', 1],
    ['delivered', 1],
    ['delivered', 2],
  ]);
  for (const address of [one, two, three]) expect(sink.for(address)).toHaveLength(1);
  expect(new Set(sink.tries.get(three)).size).toBe(1);
}, 120_000);
