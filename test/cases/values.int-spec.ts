import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type JobHandler, JobType, type TaskView } from '@app/core';
import { z } from 'zod';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../support/engine.js';
import { eventually } from '../support/eventually.js';
import { testRedis } from '../support/redis.js';
import { SmtpSink } from '../support/smtp-sink.js';

function cyclic(): object {
  const value: { self?: object; name: string } = { name: 'cyclic' };
  value.self = value;
  return value;
}

/** What handlers throw that is no plain error. */
const THROWN: Record<string, () => unknown> = {
  nothing: () => undefined,
  null: () => null,
  'a text': () => 'only a text',
  'a number': () => 42n,
  'a cyclic object': cyclic,
  'a megabyte': () => new Error('m'.repeat(1_000_000)),
  'a NUL': () => new Error('before\0after'),
  'half a character': () => new Error('before\ud800after'),
  'an object that throws when it is read': () =>
    new Proxy(
      {},
      {
        get() {
          throw new Error('not to be read');
        },
      },
    ),
};

/** What handlers return that JSON does not have, or Postgres does not take. */
const RETURNED: Record<string, () => unknown> = {
  'a NUL': () => ({ text: 'before\0after' }),
  'half a character': () => 'before\ud800after',
  'a BigInt': () => ({ bytes: 9007199254740993n }),
  'a cyclic object': cyclic,
  'a megabyte': () => 'm'.repeat(1_000_000),
};

@JobType({
  name: 'case.odd',
  payload: z.object({ throws: z.string().optional(), returns: z.string().optional() }),
  attempts: 1,
})
class Odd implements JobHandler<{ throws?: string; returns?: string }> {
  async run({ payload }: TaskView<{ throws?: string; returns?: string }>): Promise<unknown> {
    await Promise.resolve();
    // oxlint-disable-next-line typescript/only-throw-error -- handlers of others do
    if (payload.throws !== undefined) throw THROWN[payload.throws]?.();
    return RETURNED[payload.returns ?? '']?.();
  }
}

let database: TestDatabase;
let engine: TestEngine;
let sink: SmtpSink;

beforeAll(async () => {
  database = await createTestDatabase();
  sink = await SmtpSink.start();
  engine = await startEngine({
    databaseUrl: database.url,
    redis: testRedis(),
    jobTypes: [Odd],
    env: {
      LEASE: '6s',
      SMTP_URL: sink.url,
      MAIL_FROM: 'jobs@longhaul.example',
      NOTICE_RETRY: '10ms',
      MAIL_RATE: '100',
    },
  });
});
afterAll(async () => {
  await engine?.stop();
  await sink?.stop();
  await database?.drop();
});

const run = async (payload: { throws?: string; returns?: string }, email: string[] = []) => {
  const { job } = await engine.jobs.submit({ type: 'case.odd', payload, notify: { email } }, ALICE);
  return engine.ended(job.jobId);
};
/** Texts that a person can read, and Postgres can keep. */
const readable = (text: string) =>
  text.length > 0 && text.length <= 10_000 && !/\0/.test(text) && text.isWellFormed();

describe('a handler', () => {
  test.each(Object.keys(THROWN))(
    'C43: that throws %s fails its job with a reason that can be read, of which there is one mail',
    async (throws) => {
      const to = `${throws.replaceAll(' ', '-')}@example.com`;
      const { jobId, status, error } = await run({ throws }, [to]);
      expect(status).toBe('failed');
      await eventually(() => expect(sink.for(to)).toHaveLength(1));
      expect(sink.for(to)[0]?.subject).toContain(jobId);
      expect(readable(sink.for(to)[0]?.text ?? '')).toBe(true);
      expect([error?.message, readable(error?.message ?? '')]).toEqual([error?.message, true]);
    },
  );

  test.each(Object.keys(RETURNED))(
    'C39, C41: that returns %s brings its job to an end that is listed',
    async (returns) => {
      const { jobId, status, error } = await run({ returns });
      expect(['completed', 'failed']).toContain(status);
      if (status === 'failed') expect(readable(error?.message ?? '')).toBe(true);
      const [task] = (await engine.jobs.tasks('alice', jobId, { limit: 1 })) ?? [];
      expect(JSON.stringify(task?.result ?? null)).not.toContain('\\u0000');
      expect((await engine.jobs.page('alice', { limit: 1 })).jobs[0]?.jobId).toBe(jobId);
    },
  );

  test('C43: of all that, the worker is as well as before', async () => {
    expect((await run({})).status).toBe('completed');
    for (const { to } of sink.taken) expect([to, sink.for(to).length]).toEqual([to, 1]);
    expect(sink.taken).toHaveLength(Object.keys(THROWN).length);
  });
});
