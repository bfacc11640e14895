import { once } from 'node:events';
import { connect } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { describe, expect, test } from '@jest/globals';
import { demo, json, refusingService } from '../../support/refusing-service.js';

const tested = refusingService(50, { REQUEST_TIMEOUT: '3s' });

describe('methods, queries and addresses', () => {
  test.each([
    ['PUT', '/jobs', 'GET, HEAD, POST'],
    ['PATCH', '/jobs/x', 'DELETE, GET, HEAD, PUT'],
    ['DELETE', '/jobs/x/cancel?a=1', 'POST'],
    ['OPTIONS', '/jobs', 'GET, HEAD, POST'],
    ['POST', '/health/live', 'GET, HEAD'],
  ])('input 52: %s %s is 405 that tells what is allowed', async (method, path, allow) => {
    const answer = await tested().refused(path, { method });
    expect([answer.status, answer.slug, answer.headers.get('allow')]).toEqual([
      405,
      'method-not-allowed',
      allow,
    ]);
  });

  test('input 52: TRACE gives nothing back', async () => {
    const { status, text } = await tested().raw(
      'TRACE /jobs HTTP/1.1\r\nHost: a\r\nX-Secret: 42\r\nConnection: close\r\n\r\n',
    );
    expect([404, 405]).toContain(status);
    expect(text).not.toContain('42');
  });

  test.each(['text/html', 'application/json;q=0', 'image/*'])(
    'input 53: Accept: %s is 406',
    async (accept) => {
      const answer = await tested().refused('/jobs', { headers: { accept } });
      expect([answer.status, answer.slug]).toEqual([406, 'not-acceptable']);
      expect((await tested().refused('/jobs', json(demo({}), { accept }))).status).toBe(406);
    },
  );

  test.each(['application/json', 'text/html, */*;q=0.1', 'application/problem+json'])(
    'input 53: Accept: %s is answered',
    async (accept) => {
      expect((await tested().alice.send('GET', '/jobs', undefined, { accept })).status).toBe(200);
    },
  );

  test.each(['not-a-uuid', '1%00', 'x'.repeat(5000), "'%20OR%201=1--", '..%2f..%2fetc'])(
    'input 54: the id %s is that of no job',
    async (id) => {
      const answers = await Promise.all(
        ['', '/progress', '/events', '/tasks'].map((part) => tested().refused(`/jobs/${id}${part}`)),
      );
      expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
    },
  );

  test.each([
    ['input 55', 'status[not]=x'],
    ['input 55', 'id[gt]='],
    ['input 55', 'status=completed&status=failed'],
    ['input 56', "status=' OR 1=1--"],
    ['input 56', 'sort=id;drop table jobs'],
    ['input 56', 'type=a%00'],
    ['input 57', 'limit=0'],
    ['input 57', 'limit=-1'],
    ['input 57', 'limit=1e9'],
    ['input 57', 'limit=abc'],
    ['input 57', 'limit=201'],
    ['input 57', 'limit=1&limit=2'],
    ['input 58', 'cursor=abc'],
    ['input 58', `cursor=${'x'.repeat(10_000)}`],
    ['input 58', 'cursor=WzE3OTU2MTI3OTc2MzcsIjAxYTIxMmRjLWVhYzMtNzU3YS04YTQzLTAwNjNjZmI4ZDNjYiJd'],
    ['input 59', 'from=9999999-01-01T00:00:00Z'],
    ['input 59', 'from=2027-01-01T00:00:00Z&to=2026-01-01T00:00:00Z'],
    ['input 62', `from=${'1'.repeat(10_000)}!`],
    ['input 62', `status=${','.repeat(10_000)}`],
  ])('%s: %s is 400', async (_number, query) => {
    expect((await tested().refused(`/jobs?${query}`)).status).toBe(400);
  });

  test.each([
    ['two lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
    ['a length and chunks', 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a folded header', 'X-A: a\r\n b: c\r\n\r\n'],
  ])('input 60: %s is 400, and the connection is closed', async (_what, rest) => {
    const { status, text } = await tested().raw(
      `POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${rest}`,
    );
    expect(status).toBe(400);
    expect(text).toContain('application/problem+json');
  });

  test('input 61: nothing that is sent makes a line of a log of its own', async () => {
    const forged = '%0d%0a{"level":60,"msg":"forged"}';
    await tested().refused(`/jobs/${forged}`);
    await tested().refused('/jobs', {
      headers: { 'x-request-id': '{"level":60,"msg":"forged"}', 'x-api-key': 'forged' },
    });
    expect(tested().service.log.filter((line) => line.startsWith('{"level":60'))).toEqual([]);
    for (const line of tested().service.log) expect(() => JSON.parse(line)).not.toThrow();
  });

  test('input 65: connections that say nothing keep nobody waiting', async () => {
    const port = Number(new URL(tested().service.url).port);
    const idle = Array.from({ length: 500 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    try {
      const began = performance.now();
      for (let round = 0; round < 20; round++) {
        expect((await tested().alice.get('/jobs')).status).toBe(200);
      }
      expect(performance.now() - began).toBeLessThan(25_000);
    } finally {
      for (const socket of idle) socket.destroy();
    }
  });

  test('input 65: a request that comes too slowly is given up', async () => {
    const socket = connect(Number(new URL(tested().service.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write('GET /jobs HTTP/1.1\r\nHost: a\r\nX-Slow: ');
    const slowly = setInterval(() => socket.write('a'), 200);
    const text = await readAll(socket);
    clearInterval(slowly);
    expect(text).toMatch(/^HTTP\/1.1 408 /);
  }, 60_000);
});
