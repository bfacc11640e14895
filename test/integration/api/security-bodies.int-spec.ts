import { once } from 'node:events';
import http from 'node:http';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { demo, json, refusingService } from '../../support/refusing-service.js';

const tested = refusingService(50);
const refusedBody = (body: unknown, headers?: Record<string, string>) =>
  tested().refused('/jobs', json(body, headers));

describe('bodies (feature 6)', () => {
  test.each([
    ['input 37: half a body', '{"type":"demo.wait"', 'malformed-request'],
    ['input 37: a byte order mark', '\uFEFF{"type":"demo.wait"}', 'malformed-request'],
    ['input 37: something after it', '{"type":"demo.wait"}x', 'malformed-request'],
    ['input 37: a number that is none', '{"type":"demo.wait","priority":NaN}', 'malformed-request'],
    [
      'input 41: depth 10,000',
      `{"type":"demo.wait","payload":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
      'malformed-request',
    ],
    ['input 42: __proto__', '{"type":"demo.wait","__proto__":{"isAdmin":true}}', 'validation-error'],
    [
      'input 42: __proto__ in the payload',
      '{"type":"demo.wait","payload":{"__proto__":{"isAdmin":true}}}',
      'validation-error',
    ],
    [
      'input 42: constructor.prototype',
      '{"type":"demo.wait","payload":{"constructor":{"prototype":{"a":1}}}}',
      'validation-error',
    ],
    ['input 45: an infinite number', '{"type":"demo.wait","priority":1e309}', 'validation-error'],
    ['input 48: a NUL', '{"type":"demo.wait","payload":{"result":"a\\u0000"}}', 'validation-error'],
    ['input 48: a NUL in a key', '{"type":"demo.wait","labels":{"a\\u0000":"b"}}', 'validation-error'],
    ['input 48: a NUL in a dedupeKey', '{"type":"demo.wait","dedupeKey":"a\\u0000"}', 'validation-error'],
    [
      'input 48: half a surrogate pair',
      '{"type":"demo.wait","payload":{"result":"\\ud800"}}',
      'validation-error',
    ],
  ])('%s is 400', async (_what, body, slug) => {
    const answer = await refusedBody(body);
    expect([answer.status, answer.slug]).toEqual([400, slug]);
    expect(Object.hasOwn(Object.prototype, 'isAdmin')).toBe(false);
  });

  test.each([
    ['text/plain', '{}'],
    ['application/json; charset=utf-16', '{}'],
    ['application/xml', '<a/>'],
    ['', '{}'],
  ])('input 38: a body of the type "%s" is 415', async (type, body) => {
    const headers = type === '' ? { 'content-type': 'x' } : { 'content-type': type };
    expect((await tested().refused('/jobs', { method: 'POST', body, headers })).status).toBe(415);
  });

  test('input 38: a body that is not UTF-8 is 400', async () => {
    const body = Buffer.from('{"type":"demo.wait","dedupeKey":"\xff"}', 'latin1');
    expect((await tested().refused('/jobs', { ...json(''), body })).status).toBe(400);
  });

  test('input 39: a body of one byte too many is 413, with its length told or not', async () => {
    const large = JSON.stringify(demo({ payload: { result: 'x'.repeat(256 * 1024) } }));
    const told = await refusedBody(large.slice(0, 256 * 1024 + 1));
    expect([told.status, told.slug]).toEqual([413, 'payload-too-large']);
    const request = http.request(`${tested().service.url}/jobs`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${tested().alice.key}`,
        'content-type': 'application/json',
        'transfer-encoding': 'chunked',
      },
    });
    request.on('error', () => {});
    request.write(large);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    tested().statuses.push(response.statusCode ?? 0);
    expect(response.statusCode).toBe(413);
    request.destroy();
  });

  test('input 40: a compressed body is 415, however much it would be', async () => {
    const body = gzipSync(Buffer.alloc(10_000_000, ' '));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    expect((await tested().refused('/jobs', { method: 'POST', body, headers })).status).toBe(415);
  });

  test.each([
    ...['status', 'progress', 'tenantId', 'ownerId', 'id', 'createdAt'].map(
      (key): [string, object, string] => [`input 43: ${key}`, demo({ [key]: 'completed' }), `/${key}`],
    ),
    ['input 45: a priority as text', demo({ priority: '1' }), '/priority'],
    ['input 45: half a priority', demo({ priority: 1.5 }), '/priority'],
    ['input 45: a priority out of range', demo({ priority: -101 }), '/priority'],
    ['input 45: attempts below one', demo({ attempts: -1 }), '/attempts'],
    ['input 46: no tasks', demo({ tasks: [] }), '/tasks'],
    ['input 46: too many tasks', demo({ numTask: 10_001 }), '/numTask'],
    [
      'input 46: 10,001 tasks one by one',
      demo({ tasks: Array.from({ length: 10_001 }, () => ({})) }),
      '/tasks',
    ],
    ['input 49: a long name', demo({ dedupeKey: 'x'.repeat(200_000) }), '/dedupeKey'],
    ['input 59: a time that is none', demo({ runAt: '9999999-01-01' }), '/runAt'],
    ['input 62: a text made to take long', demo({ runAt: `${'1'.repeat(50_000)}!` }), '/runAt'],
    ['input 62: a type made to take long', { type: `${'a.'.repeat(50_000)}!` }, '/type'],
    [
      'input 62: a label made to take long',
      demo({ labels: { [`a${'-.'.repeat(20_000)}!`]: 'x' } }),
      undefined,
    ],
  ] as [string, object, string | undefined][])(
    '%s is 400 that names its place',
    async (_what, body, pointer) => {
      const answer = await refusedBody(body);
      expect(answer.status).toBe(400);
      if (pointer !== undefined) expect(answer.body.errors[0].pointer).toBe(pointer);
      expect(JSON.stringify(answer.body).length).toBeLessThan(5000);
    },
  );

  test('input 47: of a key that stands twice the last one counts', async () => {
    const unknown = await refusedBody('{"type":"demo.wait","type":"no.such"}');
    expect([unknown.status, unknown.slug]).toEqual([400, 'unknown-job-type']);
    const known = await refusedBody('{"type":"no.such","type":"demo.wait","priority":1,"priority":"x"}');
    expect([known.status, known.body.errors[0].pointer]).toEqual([400, '/priority']);
    const hidden = await refusedBody('{"type":"demo.wait","labels":{"__proto__":1},"labels":{}, "x":1}');
    expect(hidden.status).toBe(400);
  });

  test.each(['constructor', '__proto__', 'toString', 'no.such'])(
    'input 44: the type %s is unknown',
    async (type) => {
      const answer = await refusedBody({ type });
      expect([answer.status, answer.slug]).toEqual([400, 'unknown-job-type']);
    },
  );

  test.each(['', 'a b', 'x'.repeat(256), 'caf\u00e9'])(
    'input 50: the Idempotency-Key "%s" is refused',
    async (key) => {
      expect((await refusedBody(demo({}), { 'idempotency-key': key })).status).toBe(400);
    },
  );
});
