import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Webhook as Verifier } from 'standardwebhooks';
import { type ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';
import { NameServer } from '../../support/name-server.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';
import { type ReceivedCall, WebhookReceiver } from '../../support/webhook-receiver.js';
import { sql } from '../../cases/probe.js';

jest.setTimeout(90_000);
const PATIENCE = { timeout: 30_000 };

let database: TestDatabase;
let service: TestService;
let receiver: WebhookReceiver;
let names: NameServer;
let ann: ApiUser;
let bob: ApiUser;

beforeAll(async () => {
  [database, receiver, names] = await Promise.all([
    createTestDatabase(),
    WebhookReceiver.start(),
    NameServer.start(),
  ]);
  service = await startService(
    serviceEnvironment(database.url, testRedis(), {
      NOTICE_RETRY: '10ms',
      WEBHOOK_TIMEOUT: '5s',
      WEBHOOK_ALLOWED_NETWORKS: '127.0.0.1',
      WEBHOOK_DNS: names.address,
      LOG_LEVEL: 'debug',
      HTTP_PROXY: receiver.url('/proxy'),
      HTTPS_PROXY: receiver.url('/proxy'),
    }),
  );
  [ann, bob] = await Promise.all([apiUser(service, 'ann'), apiUser(service, 'bob')]);
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await Promise.all([receiver?.stop(), names?.stop()]);
  await database?.drop();
});

const make = async (body: object, user = ann) => {
  const { status, body: made } = await user.send('POST', '/webhooks', body);
  expect([status, made]).toMatchObject([201, { webhookId: expect.any(String) }]);
  return made as { webhookId: string; secret: string };
};
const hook = (path: string, more: object = {}) => make({ url: receiver.url(path), ...more });
const FAILS = { type: 'demo.wait', payload: { durationMs: 0, failPermanently: true } };
const log = async (webhookId: string, user = ann) =>
  (await user.get(`/webhooks/${webhookId}/deliveries`)).body.deliveries;
/** Waits until the newest delivery of a webhook is over. */
const over = (webhookId: string, status: string) =>
  eventually(async () => {
    const [delivery] = await log(webhookId);
    expect(delivery).toMatchObject({ status });
    return delivery;
  }, PATIENCE);
const remove = (webhookId: string) => ann.send('DELETE', `/webhooks/${webhookId}`);
const verify = (secret: string, { body, headers }: ReceivedCall) =>
  new Verifier(secret).verify(body, headers);

test('a receiver that fails three times and then works gets the notice, signed, under one id', async () => {
  receiver.answers.set('/flaky', (nth, reply) => reply.writeHead(nth <= 3 ? 500 : 200).end());
  const { webhookId, secret } = await hook('/flaky', { events: ['job.failed'], types: ['demo.wait'] });
  const { jobId } = await ann.submit({ ...FAILS, labels: { project: 'north' } });
  const job = await ann.until(jobId);
  const delivery = await over(webhookId, 'delivered');
  const calls = receiver.to('/flaky');
  expect(delivery).toMatchObject({
    jobId,
    generation: 1,
    attempts: 4,
    answerCode: 200,
    error: null,
    nextTryAt: null,
  });
  expect(calls).toHaveLength(4);
  for (const call of calls) {
    expect(call.headers['webhook-id']).toBe(delivery.deliveryId);
    expect(verify(secret, call)).toEqual({
      type: 'job.failed',
      timestamp: job.finishedAt,
      data: {
        jobId,
        type: 'demo.wait',
        status: 'failed',
        generation: 1,
        error: { code: 'handler_error', message: expect.stringContaining('as it was told to') },
        labels: { project: 'north' },
        finishedAt: job.finishedAt,
      },
    });
  }
  await remove(webhookId);
});

test('input 79: a receiver rejects what was changed by one byte, signed six minutes ago, or with another secret', async () => {
  const { webhookId, secret } = await hook('/signed');
  expect((await ann.send('POST', `/webhooks/${webhookId}/test`)).status).toBe(201);
  await over(webhookId, 'delivered');
  const [call] = receiver.to('/signed') as [ReceivedCall];
  expect(verify(secret, call)).toMatchObject({ type: 'webhook.test', data: { webhookId } });
  const changed = { ...call, body: call.body.replace('webhook.test', 'webhook.tesT') };
  expect(() => verify(secret, changed)).toThrow('No matching signature');
  const old = String(Number(call.headers['webhook-timestamp']) - 360);
  expect(() => verify(secret, { ...call, headers: { ...call.headers, 'webhook-timestamp': old } })).toThrow(
    'too old',
  );
  const { body } = await ann.send('POST', `/webhooks/${webhookId}/rotate`);
  expect(() => verify(body.secret, call)).toThrow('No matching signature');
  // For a day both hold, and what is sent says so.
  await ann.send('POST', `/webhooks/${webhookId}/test`);
  await eventually(() => expect(receiver.to('/signed')).toHaveLength(2));
  for (const each of [secret, body.secret]) verify(each, receiver.to('/signed')[1]!);
  expect(Date.parse(body.oldSecretUntil) - Date.now()).toBeGreaterThan(23 * 3_600_000);
  await sql(database.url, `UPDATE webhooks SET old_secret_until = now() WHERE id = $1::uuid`, webhookId);
  await ann.send('POST', `/webhooks/${webhookId}/test`);
  await eventually(() => expect(receiver.to('/signed')).toHaveLength(3));
  expect(() => verify(secret, receiver.to('/signed')[2]!)).toThrow('No matching signature');
  await remove(webhookId);
});

describe('an address that must not be called', () => {
  test.each([
    'http://example.com/',
    'ftp://x.org',
    'file:///etc/passwd',
    'gopher://x.org',
    'javascript:alert(1)',
  ])('input 73: is refused: %s', async (url) => {
    const { status, body } = await ann.send('POST', '/webhooks', { url });
    expect([status, body.type, body.errors?.[0].pointer]).toEqual([
      400,
      'urn:longhaul:problem:validation-error',
      '/url',
    ]);
  });

  test('input 74: is refused however it is written, and nothing is connected to', async () => {
    const before = receiver.connections;
    const { port } = receiver;
    for (const host of [
      '127.0.0.2',
      '0.0.0.0',
      '10.0.0.1',
      '169.254.169.254',
      '[::1]',
      '[::ffff:10.0.0.1]',
      '100.64.0.1',
      '2130706434',
      '0x7f.2',
      '127.2',
      'localhost.',
      'metadata.google.internal',
      'a@127.0.0.1',
      'nowhere.example.com',
    ]) {
      for (const url of [`https://${host}/`, `http://${host}:${port}/`]) {
        const { status, body } = await ann.send('POST', '/webhooks', { url });
        expect({ url, status, pointer: body.errors?.[0].pointer }).toEqual({
          url,
          status: 400,
          pointer: '/url',
        });
      }
    }
    expect((await ann.get('/webhooks')).body.webhooks).toEqual([]);
    expect(receiver.connections).toBe(before);
  });

  test('input 75: a name that was allowed when the webhook was made and is not now is not connected to', async () => {
    const inside = await WebhookReceiver.start('127.0.0.9', receiver.port);
    names.addresses.set('rebind.example.com', ['127.0.0.1']);
    const { webhookId } = await make({ url: `http://rebind.example.com:${receiver.port}/rebind` });
    await ann.send('POST', `/webhooks/${webhookId}/test`);
    await over(webhookId, 'delivered');
    expect(receiver.to('/rebind')).toHaveLength(1);
    for (const addresses of [['127.0.0.9'], ['127.0.0.1', '127.0.0.9']]) {
      names.addresses.set('rebind.example.com', addresses);
      const before = receiver.connections;
      await ann.send('POST', `/webhooks/${webhookId}/test`);
      expect(await over(webhookId, 'failed')).toMatchObject({
        attempts: 1,
        error: 'blocked-address',
        answerCode: null,
      });
      expect([inside.connections, receiver.connections]).toEqual([0, before]);
    }
    await remove(webhookId);
    await inside.stop();
  });

  test('input 75: a name is asked for once for each call, which goes to the addresses that were checked', async () => {
    const name = 'pinned.example.com';
    names.addresses.set(name, ['127.0.0.1']);
    const { webhookId } = await make({ url: `http://${name}:${receiver.port}/pinned` });
    const asked = () => names.asked.filter((each) => each === name).length;
    const before = asked();
    await ann.send('POST', `/webhooks/${webhookId}/test`);
    await over(webhookId, 'delivered');
    expect(receiver.to('/pinned')[0]?.headers['host']).toBe(`${name}:${receiver.port}`);
    expect(asked() - before).toBe(1);
    await remove(webhookId);
  });
});

test('input 76: a redirect is not followed, and is a failure', async () => {
  receiver.answers.set('/moved', (_nth, reply) =>
    reply.writeHead(302, { location: receiver.url('/elsewhere') }).end(),
  );
  const { webhookId } = await hook('/moved');
  await ann.send('POST', `/webhooks/${webhookId}/test`);
  const failed = { attempts: 1, answerCode: 302, error: expect.stringContaining('redirect') };
  // A trial is one call.
  expect(await over(webhookId, 'failed')).toMatchObject(failed);
  expect(receiver.to('/elsewhere')).toEqual([]);
  await remove(webhookId);
});

test('input 77: an endless, a huge and a slow answer are cut, and others are told meanwhile', async () => {
  let endless = 0;
  receiver.answers.set('/endless', (_nth, reply) => {
    reply.writeHead(200);
    const chunk = Buffer.alloc(64 * 1024);
    const more = () => {
      do endless += chunk.length;
      while (!reply.destroyed && reply.write(chunk));
    };
    reply.on('drain', more);
    more();
  });
  receiver.answers.set('/slow', (_nth, reply) => {
    const timer = setInterval(() => reply.write('x'), 20);
    reply.on('close', () => clearInterval(timer));
  });
  receiver.answers.set('/silent', () => {});
  const [silent, slow, full, quick] = await Promise.all(
    ['/silent', '/slow', '/endless', '/quick'].map((path) => hook(path)),
  );
  // More than all slots of one receiver.
  for (let nth = 0; nth < 8; nth++) await ann.send('POST', `/webhooks/${silent!.webhookId}/test`);
  for (const { webhookId } of [slow!, full!, quick!]) await ann.send('POST', `/webhooks/${webhookId}/test`);
  await over(quick!.webhookId, 'delivered');
  await over(full!.webhookId, 'delivered');
  expect(endless).toBeLessThan(20_000_000);
  await over(slow!.webhookId, 'delivered');
  await eventually(
    async () =>
      expect((await log(silent!.webhookId)).some(({ error }: { error: string }) => error === 'timeout')).toBe(
        true,
      ),
    PATIENCE,
  );
  await Promise.all([silent!, slow!, full!, quick!].map(({ webhookId }) => remove(webhookId)));
});

test('receivers that switch protocols, more than there are slots, hold up nobody', async () => {
  receiver.switches.add('/switches');
  const hooks = await Promise.all([1, 2, 3, 4, 5].map(() => hook('/switches')));
  for (const { webhookId } of hooks)
    for (let nth = 0; nth < 4; nth++) await ann.send('POST', `/webhooks/${webhookId}/test`);
  for (const { webhookId } of hooks)
    await eventually(async () => {
      const answered = { status: 'failed', answerCode: 101 };
      expect(await log(webhookId)).toMatchObject([answered, answered, answered, answered]);
    });
  await Promise.all(hooks.map(({ webhookId }) => remove(webhookId)));
});

test('one owner whose receivers are all slow takes no more than a part of the slots', async () => {
  let held = 0;
  let mostHeld = 0;
  receiver.answers.set('/held', (_nth, reply) => {
    mostHeld = Math.max(mostHeld, ++held);
    reply.once('close', () => held--);
  });
  const slow = await Promise.all(Array.from({ length: 10 }, () => hook('/held')));
  for (const { webhookId } of slow)
    for (let nth = 0; nth < 2; nth++) await ann.send('POST', `/webhooks/${webhookId}/test`);
  await eventually(() => expect(held).toBe(4), PATIENCE);
  const quick = await make({ url: receiver.url('/not-held') }, bob);
  await bob.send('POST', `/webhooks/${quick.webhookId}/test`);
  await eventually(() => expect(receiver.to('/not-held')).toHaveLength(1), PATIENCE);
  expect(mostHeld).toBe(4);
  await Promise.all(slow.map(({ webhookId }) => remove(webhookId)));
  await bob.send('DELETE', `/webhooks/${quick.webhookId}`);
});

test('no proxy of the environment is asked', () => {
  expect(receiver.to('/proxy')).toEqual([]);
  expect(receiver.calls.filter(({ path }) => path.includes('://'))).toEqual([]);
});

test('a webhook is told of the events and types that it wants, once for each end, and of nobody else’s jobs', async () => {
  const [all, canceled, others, elsewhere] = await Promise.all([
    hook('/all'),
    hook('/canceled', { events: ['job.canceled'] }),
    hook('/others', { types: ['files.ingest'] }),
    make({ url: receiver.url('/bob') }, bob),
  ]);
  const ended = await ann.submit({ type: 'demo.wait', payload: { durationMs: 0 } });
  await ann.until(ended.jobId);
  const stopped = await ann.submit({ type: 'demo.wait', payload: { durationMs: 3_600_000 } });
  await ann.send('POST', `/jobs/${stopped.jobId}/cancel`);
  await eventually(() => expect(receiver.to('/all')).toHaveLength(2));
  await eventually(() => expect(receiver.to('/canceled')).toHaveLength(1));
  const typesOf = (path: string) => receiver.to(path).map(({ body }) => JSON.parse(body).type);
  expect(typesOf('/all').toSorted()).toEqual(['job.canceled', 'job.completed']);
  expect(typesOf('/canceled')).toEqual(['job.canceled']);
  expect([...receiver.to('/others'), ...receiver.to('/bob')]).toEqual([]);
  await Promise.all([all, canceled, others].map(({ webhookId }) => remove(webhookId)));
  await bob.send('DELETE', `/webhooks/${elsewhere.webhookId}`);
});

test('a receiver that says 410 is called no more, until its owner says so', async () => {
  receiver.answers.set('/gone', (_nth, reply) => reply.writeHead(410).end());
  const { webhookId } = await hook('/gone');
  await ann.send('POST', `/webhooks/${webhookId}/test`);
  await over(webhookId, 'failed');
  const { body } = await ann.get(`/webhooks/${webhookId}`);
  expect(body).toMatchObject({ disabledReason: 'gone', failures: 1, disabledAt: expect.any(String) });
  await ann.send('POST', `/webhooks/${webhookId}/test`);
  await eventually(async () =>
    expect((await log(webhookId))[0]).toMatchObject({ error: 'the webhook is disabled' }),
  );
  expect(receiver.to('/gone')).toHaveLength(1);
  receiver.answers.delete('/gone');
  const enabled = await ann.send('PATCH', `/webhooks/${webhookId}`, { enabled: true });
  expect(enabled.body).toMatchObject({ disabledAt: null, disabledReason: null, failures: 0 });
  const [delivery] = await log(webhookId);
  const path = `/webhooks/${webhookId}/deliveries/${delivery.deliveryId}/redeliver`;
  expect((await ann.send('POST', path)).body).toMatchObject({ status: 'waiting', attempts: 0 });
  await over(webhookId, 'delivered');
  expect(receiver.to('/gone').at(-1)?.headers['webhook-id']).toBe(delivery.deliveryId);
  await remove(webhookId);
});

test('a delivery whose second answer is still to come is not called a third time for being redelivered', async () => {
  const held: ServerResponse[] = [];
  receiver.answers.set('/second', (nth, reply) => {
    if (nth === 2) held.push(reply);
    else reply.writeHead(nth === 1 ? 500 : 204).end();
  });
  const { webhookId } = await hook('/second', { events: ['job.failed'] });
  await ann.submit(FAILS);
  await eventually(() => expect(receiver.to('/second')).toHaveLength(2));
  const [{ deliveryId }] = await log(webhookId);
  const path = `/webhooks/${webhookId}/deliveries/${deliveryId}/redeliver`;
  expect((await ann.send('POST', path)).body).toMatchObject({ status: 'waiting', attempts: 2 });
  // What comes later has been called, so this one would have been.
  await ann.send('POST', `/webhooks/${webhookId}/test`);
  await eventually(() => expect(receiver.to('/second')).toHaveLength(3));
  held[0]?.writeHead(204).end();
  await eventually(async () =>
    expect((await log(webhookId))[1]).toMatchObject({ status: 'delivered', attempts: 2 }),
  );
  await remove(webhookId);
});

test('the log of deliveries is paged, newest first', async () => {
  const { webhookId } = await hook('/paged');
  for (let nth = 0; nth < 5; nth++) await ann.send('POST', `/webhooks/${webhookId}/test`);
  const seen: string[] = [];
  let cursor = '';
  do {
    const { body } = await ann.get(
      `/webhooks/${webhookId}/deliveries?limit=2${cursor && `&cursor=${cursor}`}`,
    );
    seen.push(...body.deliveries.map(({ createdAt }: { createdAt: string }) => createdAt));
    cursor = body.nextCursor ?? '';
  } while (cursor !== '');
  expect(seen).toHaveLength(5);
  expect(seen).toEqual(seen.toSorted().toReversed());
  await remove(webhookId);
});

describe('a webhook', () => {
  test('of somebody else answers as one that is not there, to everything', async () => {
    const { webhookId } = await hook('/own');
    await ann.send('POST', `/webhooks/${webhookId}/test`);
    const { deliveryId } = await over(webhookId, 'delivered');
    const nobody = '019a0000-0000-7000-8000-000000000000';
    for (const [method, path, body] of [
      ['GET', ''],
      ['PATCH', '', { url: receiver.url('/stolen') }],
      ['DELETE', ''],
      ['POST', '/rotate'],
      ['POST', '/test'],
      ['GET', '/deliveries'],
      ['POST', `/deliveries/${deliveryId}/redeliver`],
    ] as const) {
      const [foreign, absent] = await Promise.all([
        bob.send(method, `/webhooks/${webhookId}${path}`, body),
        bob.send(method, `/webhooks/${nobody}${path}`, body),
      ]);
      expect([method, path, foreign.status, foreign.body]).toEqual([method, path, 404, absent.body]);
    }
    expect((await ann.get(`/webhooks/${webhookId}`)).body.url).toBe(receiver.url('/own'));
    await remove(webhookId);
  });

  test('shows its secret once, and it stands in no log', async () => {
    const { webhookId, secret } = await hook('/secret');
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const shown = [
      await ann.get(`/webhooks/${webhookId}`),
      await ann.get('/webhooks'),
      await ann.send('PATCH', `/webhooks/${webhookId}`, { description: 'x' }),
    ];
    expect(JSON.stringify(shown.map(({ body }) => body))).not.toMatch(/whsec_|"secret":/);
    await ann.send('POST', `/webhooks/${webhookId}/test`);
    await over(webhookId, 'delivered');
    expect(service.log.join('\n')).not.toContain('whsec_');
    const audit = service.log.filter((line) => line.includes('webhook.create') && line.includes(webhookId));
    expect(audit.map((line) => JSON.parse(line))).toMatchObject([{ webhookId, ownerId: 'ann', status: 201 }]);
    expect(JSON.parse(audit[0]!)).not.toHaveProperty('jobId');
    await remove(webhookId);
  });

  test.each<[string, unknown]>([
    ['/url', {}],
    ['/url', { url: 5 }],
    ['/events', { url: 'https://1.1.1.1', events: [] }],
    ['/events/0', { url: 'https://1.1.1.1', events: ['job.started'] }],
    ['/types/0', { url: 'https://1.1.1.1', types: ['no.such'] }],
    ['/description', { url: 'https://1.1.1.1', description: 'a\nb' }],
    ['/secret', { url: 'https://1.1.1.1', secret: 'mine' }],
  ])('is refused at %s: %j', async (pointer, given) => {
    const { status, body } = await ann.send('POST', '/webhooks', given);
    expect([status, body.errors?.[0].pointer]).toEqual([400, pointer]);
  });

  test('is one of 20 at most', async () => {
    const carl = await apiUser(service, 'carl');
    const made = await Promise.all(
      Array.from({ length: 23 }, () => carl.send('POST', '/webhooks', { url: 'https://1.1.1.1' })),
    );
    expect(made.filter(({ status }) => status === 201)).toHaveLength(20);
    const refusal = made.find(({ status }) => status !== 201)!;
    expect([refusal.status, refusal.body]).toMatchObject([
      429,
      { type: 'urn:longhaul:problem:quota-exceeded', detail: 'An owner has at most 20 webhooks.' },
    ]);
    // No time brings room; only who deletes one does.
    expect(refusal.headers.get('retry-after')).toBeNull();
  });
});

test.each<[string, string, unknown]>([
  ['a header', '/notify/email/0', { email: ['a@x.org\r\nBcc: b@x.org'] }],
  ['a second recipient', '/notify/email/1', { email: ['a@x.org', 'b@x.org,c@x.org'] }],
  ['too many', '/notify/email', { email: Array.from({ length: 11 }, (_, nth) => `a${nth}@x.org`) }],
  ['a cancel', '/notify/on/0', { on: ['canceled'] }],
  ['another field', '/notify/sms', { sms: '1' }],
  ['addresses where no mail is sent', '/notify/email', { email: ['a@x.org'] }],
])('a job that asks to mail %s is refused at %s', async (_what, pointer, notify) => {
  const { status, body } = await ann.send('POST', '/jobs', { numTask: 1, notify });
  expect([status, body.errors?.map((issue: { pointer: string }) => issue.pointer)]).toEqual([
    400,
    expect.arrayContaining([pointer]),
  ]);
});

test('notices are measured', async () => {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  expect(text).toMatch(/longhaul_notices_total\{kind="webhook",result="delivered"\} [1-9]/);
  expect(text).toMatch(/longhaul_notices_total\{kind="webhook",result="failed"\} [1-9]/);
  expect(text).toContain('longhaul_notices_waiting');
  expect(text).toContain('longhaul_notices_oldest_seconds');
});
