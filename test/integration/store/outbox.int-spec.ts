import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import {
  deleteOldDeliveries,
  noticesToDo,
  recordDelivery,
  renewDeliveries,
} from '@app/engine/store/deliveries.js';
import { endFinalization, takeDueFinalizations } from '@app/engine/store/finalization.js';
import { noteLateStarts } from '@app/engine/store/late-starts.js';
import { expandOutbox, readDigest } from '@app/engine/store/outbox.js';
import { repairJobs } from '@app/engine/store/repair-jobs.js';
import { resolveJob } from '@app/engine/store/resolve-job.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { type DeliveryRoom, takeDueDeliveries } from '@app/engine/store/take-deliveries.js';
import { failOverdueJobs } from '@app/engine/store/timed-jobs.js';
import { addWebhook, findWebhook, WEBHOOK_EVENTS } from '@app/engine/store/webhooks.js';
import { redeliver } from '@app/engine/store/webhook-deliveries.js';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import {
  claimAll,
  ending,
  failure,
  finish,
  jobRow,
  LEASE,
  LIFE,
  newJob,
  openStore,
  OWNER,
  running,
  type Store,
} from './store-fixture.js';

let store: Store;
let one: PrismaClient;
let two: PrismaClient;

beforeAll(async () => {
  store = await openStore(2);
  [one, two] = store.clients as [PrismaClient, PrismaClient];
});
afterAll(() => store.close());

const MAIL = { email: ['ann@example.com', 'bob@example.com'], on: ['failed', 'completed'] as const };
const notify = { email: [...MAIL.email], on: [...MAIL.on] };
const LIMIT = { rate: 100, windowMs: 60_000 };
const BY = { actor: 'key:test' };
const outbox = (jobId: string) =>
  one.$queryRaw<{ status: string; error: unknown; generation: number }[]>`
    SELECT status, error, generation FROM outbox WHERE job_id = ${jobId}::uuid`;
const deliveries = (jobId: string) =>
  one.$queryRaw<
    { id: string; kind: string; recipient: string; status: string; attempts: number; generation: number }[]
  >`
    SELECT id::text AS id, kind, recipient, status, attempts, generation FROM deliveries
    WHERE job_id = ${jobId}::uuid ORDER BY generation, recipient`;
const take = (
  sql: PrismaClient,
  leaseMs = LEASE,
  room: DeliveryRoom = { limit: 1000, perRecipient: 1000, perOwner: 1000, busy: [], walk: { from: '' } },
) =>
  Promise.all((['mail', 'webhook'] as const).map((kind) => takeDueDeliveries(sql, kind, room, leaseMs))).then(
    (due) => due.flat(),
  );
const nobody = '019a0000-0000-7000-8000-000000000000';
const HOOK = { url: 'https://x', description: null, events: [...WEBHOOK_EVENTS], types: [] };
/** Adds deliveries to a webhook that are due, each later than those before. */
const plant = ({ ownerId, recipient }: { ownerId: string; recipient: string }, count = 1) =>
  one.$executeRaw`
    INSERT INTO deliveries (id, kind, owner_id, recipient, event, data)
    SELECT gen_random_uuid(), 'webhook', ${ownerId}, ${recipient}, 'job.failed', '{}' FROM generate_series(1, ${count}::int)`;
/** Whose deliveries are taken where one owner may have four under way, and one recipient two. */
const owners = async (busy: DeliveryRoom['busy'] = []) =>
  (await take(one, LEASE, { limit: 10, perRecipient: 2, perOwner: 4, busy, walk: { from: '' } }))
    .map((due) => due.ownerId)
    .toSorted();
/** Ends what is left of earlier tests. */
const clear = () => one.$executeRaw`DELETE FROM deliveries`;

/** Every way in which jobs end; each answers the job, which has ended. */
const ENDINGS: Record<
  string,
  { status: string; error: string | null; end: (over: object) => Promise<string> }
> = {
  'the last task': {
    status: 'completed',
    error: null,
    end: async (over) => {
      const { jobId, tasks } = await running(one, over);
      await finish(one, ending(tasks[0]!));
      return jobId;
    },
  },
  'a task that fails for good': {
    status: 'failed',
    error: 'handler_error',
    end: async (over) => {
      const { jobId, tasks } = await running(one, over);
      await finish(one, ending(tasks[0]!, 'failed', { error: failure }));
      return jobId;
    },
  },
  'its deadline': {
    status: 'failed',
    error: 'missed_deadline',
    end: async (over) => {
      const job = newJob({ ...over, expiresAt: new Date(Date.now() - 1000) });
      await acceptJobs(one, [job], LIFE);
      await failOverdueJobs(one, [job.jobId]);
      return job.jobId;
    },
  },
  'the Catalog': {
    status: 'failed',
    error: 'catalog_rejected',
    end: async (over) => {
      const { jobId, tasks } = await running(one, { ...over, finalize: true });
      await finish(one, ending(tasks[0]!));
      const [turn] = (await takeDueFinalizations(one, 100, LEASE)).filter((due) => due.jobId === jobId);
      await endFinalization(one, turn!, 'worker:test', { code: 'catalog_rejected', message: 'no' });
      return jobId;
    },
  },
  'an administrator': {
    status: 'completed',
    error: null,
    end: async (over) => {
      const { jobId, tasks } = await running(one, { ...over, finalize: true });
      await finish(one, ending(tasks[0]!));
      await resolveJob(one, jobId, { status: 'completed', reason: 'x' }, 'key:admin');
      return jobId;
    },
  },
  'a repair': {
    status: 'completed',
    error: null,
    end: async (over) => {
      const { jobId } = await running(one, over);
      await one.$executeRaw`UPDATE tasks SET status = 'completed', progress = 100, lease_until = NULL, finished_at = now()
        WHERE job_id = ${jobId}::uuid`;
      await one.$executeRaw`DELETE FROM dispatch WHERE job_id = ${jobId}::uuid`;
      await repairJobs(one, '00000000-0000-0000-0000-000000000000', 1000);
      return jobId;
    },
  },
  'a cancel': {
    status: 'canceled',
    error: null,
    end: async (over) => {
      const job = newJob(over);
      await acceptJobs(one, [job], LIFE);
      await cancelJob(one, OWNER, job.jobId, BY);
      return job.jobId;
    },
  },
};

describe.each(Object.entries(ENDINGS))('a job that is ended by %s', (_name, { status, error, end }) => {
  test('leaves no note where nobody is to be told', async () => {
    const jobId = await end({});
    expect((await jobRow(one, jobId)).status).toBe(status);
    expect(await outbox(jobId)).toEqual([]);
  });

  test('leaves one with what is told, and a cancel is mailed to nobody (feature 21)', async () => {
    const jobId = await end({ notify });
    const rows = await outbox(jobId);
    if (status === 'canceled') return expect(rows).toEqual([]);
    expect(rows).toEqual([
      { status, generation: 1, error: error && expect.objectContaining({ code: error }) },
    ]);
  });

  test('leaves one for a webhook of its owner', async () => {
    const hook = { url: 'https://x', description: null, events: [...WEBHOOK_EVENTS], types: ['test.type'] };
    await addWebhook(one, 'hooked', hook, 'whsec_x', 20);
    const ids = [];
    // A cancel is asked for by the owner.
    if (status !== 'canceled') ids.push(await end({ ownerId: 'hooked' }));
    else {
      const job = newJob({ ownerId: 'hooked' });
      await acceptJobs(one, [job], LIFE);
      await cancelJob(one, 'hooked', job.jobId, BY);
      ids.push(job.jobId);
    }
    expect(await outbox(ids[0]!)).toMatchObject([{ status }]);
  });
});

describe('the notes', () => {
  test('become one delivery for each recipient, also when processes look at one moment', async () => {
    const ids = [];
    for (let nth = 0; nth < 5; nth++) ids.push(await ENDINGS['the last task']!.end({ notify }));
    await Promise.all([one, two, one, two].map((client) => expandOutbox(client, 2, LIMIT)));
    while ((await expandOutbox(one, 100, LIMIT)) > 0);
    for (const jobId of ids) {
      expect(await outbox(jobId)).toEqual([]);
      expect((await deliveries(jobId)).map(({ recipient }) => recipient)).toEqual(MAIL.email);
    }
  });

  test('are there once for each generation, and one that comes again makes nothing', async () => {
    const jobId = await ENDINGS['a task that fails for good']!.end({ notify });
    await expandOutbox(one, 100, LIMIT);
    const told = await deliveries(jobId);
    // As if the note had come back with a restored backup.
    await one.$executeRaw`INSERT INTO outbox (job_id, generation, owner_id, type, status, notify)
      VALUES (${jobId}::uuid, 1, ${OWNER}, 'test.type', 'failed', ${JSON.stringify(notify)}::jsonb)`;
    expect(await expandOutbox(one, 100, LIMIT)).toBe(1);
    expect(await deliveries(jobId)).toEqual(told);
    await retryJob(one, OWNER, jobId, BY);
    await cancelJob(one, OWNER, jobId, BY);
    await retryJob(one, OWNER, jobId, BY);
    expect(await deliveries(jobId)).toEqual(told);
  });

  test('keep why a job has failed, also when it is retried before anybody looks', async () => {
    const jobId = await ENDINGS['a task that fails for good']!.end({ notify, labels: { a: 'b' } });
    await retryJob(one, OWNER, jobId, BY);
    await expandOutbox(one, 100, LIMIT);
    const [delivery] = (await take(one)).filter((due) => due.jobId === jobId);
    expect(delivery).toMatchObject({
      event: 'job.failed',
      data: {
        jobId,
        status: 'failed',
        generation: 1,
        error: { code: 'handler_error', message: 'It broke.' },
        labels: { a: 'b' },
      },
    });
    await clear();
  });

  test('of a webhook that was made after the end are not for it', async () => {
    const early = { url: 'https://x', description: null, events: [...WEBHOOK_EVENTS], types: [] };
    await addWebhook(one, 'late', early, 'whsec_x', 20);
    const jobId = await ENDINGS['the last task']!.end({ ownerId: 'late' });
    await one.$executeRaw`SELECT pg_sleep(0.01)`;
    await addWebhook(one, 'late', { ...early, url: 'https://y' }, 'whsec_y', 20);
    await expandOutbox(one, 100, LIMIT);
    expect(await deliveries(jobId)).toHaveLength(1);
    await clear();
  });
});

const waiting = async () => {
  await clear();
  const jobId = await ENDINGS['the last task']!.end({ notify: { ...notify, email: ['ann@example.com'] } });
  while ((await expandOutbox(one, 100, LIMIT)) > 0);
  return jobId;
};

describe('a delivery', () => {
  test('is had by one at a time, until its lease is over, and a lost turn writes nothing', async () => {
    const jobId = await waiting();
    const [first] = await take(one, 0);
    const [second, ...none] = await take(two);
    expect([first?.jobId, second?.jobId, none]).toEqual([jobId, jobId, []]);
    expect(await take(one)).toEqual([]);
    expect(await recordDelivery(one, first!, { status: 'delivered' })).toBe(false);
    await renewDeliveries(one, [first!], -LEASE);
    expect(await take(one)).toEqual([]);
    expect(await recordDelivery(two, second!, { status: 'delivered', code: 250 })).toBe(true);
    expect(await recordDelivery(two, second!, { status: 'failed' })).toBe(false);
    expect(await deliveries(jobId)).toMatchObject([{ status: 'delivered', attempts: 2 }]);
  });

  test('that is tried again waits for its time', async () => {
    const jobId = await waiting();
    const [turn] = await take(one);
    await recordDelivery(one, turn!, { status: 'again', reason: 'busy', pauseMs: 60_000 });
    expect(await take(one)).toEqual([]);
    const { untilNextMs, ends } = await noticesToDo(one);
    expect(ends).toBe(false);
    expect(untilNextMs).toBeGreaterThan(30_000);
    expect(await deliveries(jobId)).toMatchObject([{ status: 'waiting' }]);
  });

  test('of one recipient leaves room for others', async () => {
    await clear();
    for (const address of ['slow@x.org', 'slow@x.org', 'slow@x.org', 'quick@x.org'])
      await ENDINGS['the last task']!.end({ notify: { ...notify, email: [address] } });
    while ((await expandOutbox(one, 100, LIMIT)) > 0);
    const recipients = async (busy: DeliveryRoom['busy']) => {
      const taken = await take(one, LEASE, {
        limit: 10,
        perRecipient: 2,
        perOwner: 100,
        busy,
        walk: { from: '' },
      });
      return taken.map((due) => due.recipient).toSorted();
    };
    const slow = { id: nobody, ownerId: OWNER, recipient: 'slow@x.org' };
    expect(await recipients([slow])).toEqual(['quick@x.org', 'slow@x.org']);
    expect(await recipients([slow, slow])).toEqual([]);
    expect(await recipients([slow])).toEqual(['slow@x.org']);
    expect(await recipients([])).toEqual(['slow@x.org']);
  });

  test('of one owner leaves room for others, however many recipients it has', async () => {
    await clear();
    for (const [ownerId, count] of [
      ['greedy', 9],
      ['modest', 1],
    ] as const)
      for (let nth = 0; nth < count; nth++) await plant({ ownerId, recipient: `${ownerId}-${nth}` });
    const busy = { id: nobody, ownerId: 'greedy', recipient: 'greedy-0' };
    expect(await owners([busy])).toEqual(['greedy', 'greedy', 'greedy', 'modest']);
    expect(await owners([busy, busy, busy, busy])).toEqual([]);
    expect(await owners()).toEqual(['greedy', 'greedy', 'greedy', 'greedy']);
  });

  test('is found behind any number of those of a recipient who has no room', async () => {
    await clear();
    await plant({ recipient: 'full', ownerId: 'full' }, 600);
    await plant({ recipient: 'behind', ownerId: 'behind' });
    await plant({ recipient: 'aside', ownerId: 'behind' });
    const room = { limit: 10, perRecipient: 2, perOwner: 4, busy: [], walk: { from: '' } };
    const first = await take(one, LEASE, room);
    expect(first.map((due) => due.recipient).toSorted()).toEqual(['aside', 'behind', 'full', 'full']);
    await plant({ recipient: 'late', ownerId: 'late' });
    const again = await take(one, LEASE, { ...room, busy: first });
    expect(again.map((due) => due.recipient)).toEqual(['late']);
  });

  test('is found among any number of recipients for whom nothing is due', async () => {
    await clear();
    await plant({ recipient: 'a', ownerId: 'full' }, 600);
    await one.$executeRaw`INSERT INTO deliveries (id, kind, owner_id, recipient, event, data, look_again_at)
      SELECT gen_random_uuid(), 'webhook', 'many', 'b' || i, 'job.failed', '{}', now() + interval '1 hour'
      FROM generate_series(1, 1500) i`;
    await plant({ recipient: 'z', ownerId: 'last' });
    const room = { limit: 10, perRecipient: 2, perOwner: 4, walk: { from: '' } };
    const taken: Awaited<ReturnType<typeof take>> = [];
    for (let looks = 0; looks < 3; looks++)
      taken.push(...(await takeDueDeliveries(one, 'webhook', { ...room, busy: taken }, LEASE)));
    expect(taken.map((due) => due.recipient)).toEqual(['a', 'a', 'z']);
  });

  test('whose lease has lapsed is not begun anew by who has it under way', async () => {
    const jobId = await waiting();
    const busy = await take(one, 0);
    const room = { limit: 10, perRecipient: 10, perOwner: 10, walk: { from: '' } };
    expect(await take(one, 0, { ...room, busy })).toEqual([]);
    expect(await take(two, 0, { ...room, busy: [] })).toMatchObject([{ jobId, attempts: 2 }]);
  });

  test('that is tried again keeps its pause, whoever renews its turn after that', async () => {
    await waiting();
    const [turn] = await take(one);
    await recordDelivery(one, turn!, { status: 'again', reason: 'busy', pauseMs: 3_600_000 });
    await renewDeliveries(one, [turn!], 1000);
    expect((await noticesToDo(one)).untilNextMs).toBeGreaterThan(1_800_000);
  });

  test('of a webhook is redelivered unless it is being tried', async () => {
    await clear();
    const { webhookId } = (await addWebhook(one, 'again', HOOK, 'whsec_x', 20))!;
    await plant({ recipient: webhookId, ownerId: 'again' });
    const again = async (deliveryId: string) => (await redeliver(one, 'again', webhookId, deliveryId))!;
    const [first] = await take(one);
    await recordDelivery(one, first!, { status: 'again', reason: 'busy', pauseMs: 0 });
    const [second] = await take(one);
    // It has an error, of the try before.
    expect(await again(second!.id)).toMatchObject({ attempts: 2 });
    expect(await take(two)).toEqual([]);
    await recordDelivery(one, second!, { status: 'again', reason: 'busy', pauseMs: 3_600_000 });
    expect(await again(second!.id)).toMatchObject({ attempts: 0, status: 'waiting' });
    const [third] = await take(one, 0);
    expect(third).toMatchObject({ id: first!.id, attempts: 1 });
    // Nobody has said in time what came of it.
    expect(await again(second!.id)).toMatchObject({ attempts: 0 });
    const [last] = await take(one);
    expect(await recordDelivery(one, last!, { status: 'delivered' })).toBe(true);
    expect(await again(second!.id)).toMatchObject({ status: 'waiting' });
  });

  test('is forgotten when it was over for long, and not before', async () => {
    const jobId = await waiting();
    const [turn] = await take(one);
    await recordDelivery(one, turn!, { status: 'delivered' });
    expect(await deleteOldDeliveries(one, 60_000, 10)).toBe(0);
    await one.$executeRaw`UPDATE deliveries SET ended_at = now() - interval '2 minutes'`;
    expect(await deleteOldDeliveries(one, 60_000, 10)).toBe(1);
    expect(await deliveries(jobId)).toEqual([]);
  });

  test('that a digest is to tell of is kept until the digest is over', async () => {
    await clear();
    await endFor('kept', 'kept@x.org');
    await endFor('kept', 'kept@x.org');
    while ((await expandOutbox(one, 100, { rate: 1, windowMs: 60_000 })) > 0);
    await one.$executeRaw`UPDATE deliveries SET ended_at = now() - interval '1 day' WHERE status = 'collected'`;
    expect(await deleteOldDeliveries(one, 60_000, 10)).toBe(0);
    await one.$executeRaw`UPDATE deliveries SET look_again_at = now() WHERE event = 'digest'`;
    const digest = (await take(one)).find(({ event }) => event === 'digest')!;
    expect(await readDigest(one, digest)).toMatchObject({ count: 1 });
    await recordDelivery(one, digest, { status: 'delivered' });
    expect(await deleteOldDeliveries(one, 60_000, 10)).toBe(1);
  });
});

test('a job of a schedule that begins late is told of to webhooks, once, and its end as well (feature 35)', async () => {
  await clear();
  const { webhookId } = (await addWebhook(one, 'slow', HOOK, 'whsec_x', 20))!;
  await addWebhook(one, 'slow', { ...HOOK, events: ['job.failed'] }, 'whsec_x', 20);
  const slot = '2026-01-02T03:04:05.000Z';
  const jobs = [newJob({ ownerId: 'slow', labels: { a: 'b' } }), newJob({ ownerId: 'deaf' })];
  await acceptJobs(one, jobs, LIFE);
  const [{ jobId, units }] = jobs as [(typeof jobs)[0], unknown];
  for (const job of jobs)
    await one.$executeRaw`INSERT INTO schedule_slots (schedule_id, slot, outcome, job_id, check_at)
      VALUES (${job.jobId}::uuid, ${slot}::timestamptz, 'fired', ${job.jobId}::uuid, now() - interval '1 s')`;
  expect((await noteLateStarts(one, 10)).late).toHaveLength(2);
  expect(await outbox(jobs[1]!.jobId)).toEqual([]);
  expect((await noteLateStarts(one, 10)).looked).toBe(0);
  // It ends before anybody has looked.
  const [task] = await claimAll(one, [units[0]!.taskId]);
  await finish(one, ending(task!));
  while ((await expandOutbox(one, 1, LIMIT)) > 0);
  const taken = (await take(one)).toSorted((a, b) => a.event.localeCompare(b.event));
  expect(taken.map(({ event, recipient }) => [event, recipient])).toEqual([
    ['job.completed', webhookId],
    ['job.late', webhookId],
  ]);
  expect(taken[1]?.data).toEqual({
    jobId,
    type: 'test.type',
    generation: 1,
    labels: { a: 'b' },
    scheduleId: jobId,
    slot,
  });
});

const endFor = (ownerId: string, address: string) =>
  ENDINGS['the last task']!.end({ ownerId, notify: { ...notify, email: [address] } });

describe('mails of one owner to one address beyond the rate (C72)', () => {
  test('are collected, and told of in one digest at the end of the window, whoever adds to it meanwhile', async () => {
    await clear();
    const limit = { rate: 2, windowMs: 60_000 };
    const email = ['flood@example.com'];
    const end = () => ENDINGS['a task that fails for good']!.end({ notify: { ...notify, email } });
    for (let nth = 0; nth < 5; nth++) await end();
    while ((await expandOutbox(one, 3, limit)) > 0);
    const rows = await one.$queryRaw<{ event: string; status: string; count: number }[]>`
      SELECT event, status, count(*)::int AS count FROM deliveries GROUP BY 1, 2 ORDER BY 1, 2`;
    expect(rows).toEqual([
      { event: 'digest', status: 'waiting', count: 1 },
      { event: 'job.failed', status: 'collected', count: 3 },
      { event: 'job.failed', status: 'waiting', count: 2 },
    ]);
    expect((await take(one)).map(({ event }) => event)).toEqual(['job.failed', 'job.failed']);
    // The window is over.
    await one.$executeRaw`UPDATE deliveries SET look_again_at = now() - interval '1 s' WHERE event = 'digest'`;
    const [digest] = await take(one);
    expect(digest?.event).toBe('digest');
    const told = await readDigest(one, digest!);
    expect([told.count, told.notices.length]).toEqual([3, 3]);
    // What fails from now on is none of it: a window of its own has begun.
    await end();
    await expandOutbox(one, 3, limit);
    expect(await readDigest(one, digest!)).toEqual(told);
    expect((await take(one)).map(({ event }) => event)).toEqual(['job.failed']);
  });

  test('are counted apart for each owner and each address, and anew in each window', async () => {
    await clear();
    const limit = { rate: 1, windowMs: 60_000 };
    await endFor('o1', 'a@x.org');
    await endFor('o1', 'b@x.org');
    await endFor('o2', 'a@x.org');
    await expandOutbox(one, 100, limit);
    await one.$executeRaw`UPDATE mail_windows SET began_at = now() - interval '61 s'`;
    await endFor('o1', 'a@x.org');
    await expandOutbox(one, 100, limit);
    expect((await take(one)).map(({ event }) => event)).toEqual(
      Array.from({ length: 4 }, () => 'job.completed'),
    );
  });
});

test('a webhook whose deliveries fail for days is disabled, and one success is enough to begin anew', async () => {
  await clear();
  const input = { url: 'https://x', description: null, events: [...WEBHOOK_EVENTS], types: [] };
  const hook = (await addWebhook(one, 'dead', input, 'whsec_x', 20))!;
  const state = async () => (await findWebhook(one, 'dead', hook.webhookId))!;
  const fail = async (status: 'failed' | 'delivered' = 'failed') => {
    await ENDINGS['the last task']!.end({ ownerId: 'dead' });
    await expandOutbox(one, 100, LIMIT);
    const [turn] = await take(one);
    await recordDelivery(one, turn!, { status });
  };
  for (let nth = 0; nth < 12; nth++) await fail();
  expect(await state()).toMatchObject({ failures: 12, disabledAt: null });
  await fail('delivered');
  expect(await state()).toMatchObject({ failures: 0, failingSince: null });
  for (let nth = 0; nth < 9; nth++) await fail();
  await one.$executeRaw`UPDATE webhooks SET failing_since = now() - interval '73 hours' WHERE owner_id = 'dead'`;
  expect(await state()).toMatchObject({ failures: 9, disabledAt: null });
  await fail();
  expect(await state()).toMatchObject({
    failures: 10,
    disabledReason: 'failing',
    disabledAt: expect.any(Date),
  });
  // Its owner's jobs leave no note any more.
  const jobId = await ENDINGS['the last task']!.end({ ownerId: 'dead' });
  expect(await outbox(jobId)).toEqual([]);
});
