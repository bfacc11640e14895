import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RequestLog } from '../../../apps/catalog-sim/src/request-log.js';
import { type RunningCatalog, startCatalog } from '../../../apps/catalog-sim/src/catalog-server.js';
import { recordBody } from './catalog-records.js';

let catalog: RunningCatalog;
beforeEach(async () => {
  catalog = await startCatalog();
});
afterEach(() => catalog.stop());

const call = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
  fetch(`${catalog.url}${path}`, { method, headers, ...(body !== undefined && { body }) });

const fault = (body: unknown) => call('POST', '/_sim/faults', JSON.stringify(body));

describe('records', () => {
  it('keeps what is posted and gives it back', async () => {
    expect((await call('GET', '/metadata')).status).toBe(204);
    const posted = await call('POST', '/metadata', recordBody('m/1'));
    expect(posted.status).toBe(201);
    expect(await posted.json()).toEqual(JSON.parse(recordBody('m/1')));
    expect(await (await call('GET', '/metadata')).json()).toEqual([JSON.parse(recordBody('m/1'))]);
    expect(await (await call('GET', '/metadata/m%2F1')).json()).toEqual(JSON.parse(recordBody('m/1')));
    expect((await call('GET', '/metadata/other')).status).toBe(404);
    expect([...catalog.records().keys()]).toEqual(['m/1']);
  });

  it('writes once for one idempotency key and answers the same record again', async () => {
    const key = { 'idempotency-key': 'k1' };
    await call('POST', '/metadata', recordBody('m', { productName: 'first' }), key);
    const again = await call('POST', '/metadata', recordBody('m', { productName: 'second' }), key);
    expect(again.status).toBe(201);
    expect(await again.json()).toMatchObject({ productName: 'first' });
    expect(catalog.records().get('m')).toMatchObject({ productName: 'first' });
    expect(catalog.requests.map((request) => request.applied)).toEqual([true, false]);
  });

  it('overwrites an id that is posted under another key', async () => {
    await call('POST', '/metadata', recordBody('m', { productName: 'first' }), { 'idempotency-key': 'k1' });
    await call('POST', '/metadata', recordBody('m', { productName: 'second' }), { 'idempotency-key': 'k2' });
    expect(catalog.records().get('m')).toMatchObject({ productName: 'second' });
  });

  it('deletes idempotently', async () => {
    await call('POST', '/metadata', recordBody('m'));
    expect((await call('DELETE', '/metadata/m')).status).toBe(204);
    expect((await call('DELETE', '/metadata/m')).status).toBe(204);
    expect(catalog.requests.map((request) => request.applied)).toEqual([true, true, false]);
  });

  it.each([
    ['no JSON', '{', /not JSON/],
    ['no object', '[]', /body/],
    ['no id', recordBody('m', { id: undefined }), /^id/],
    ['an empty id', recordBody(''), /^id/],
    ['no links', recordBody('m', { links: [] }), /^links/],
    [
      'a link without protocol',
      recordBody('m', { links: [{ url: 'http://a.test/' }] }),
      /^links\.0\.protocol/,
    ],
    [
      'a link to no web address',
      recordBody('m', { links: [{ protocol: 'x', url: 'ftp://a' }] }),
      /^links\.0\.url/,
    ],
  ])('refuses %s', async (_name, body, message) => {
    const refused = await call('POST', '/metadata', body);
    expect(refused.status).toBe(400);
    expect(await refused.json()).toEqual({ message: expect.stringMatching(message) });
    expect(catalog.records().size).toBe(0);
  });

  it('refuses bodies beyond 1 MiB, broken escapes, other methods and other paths', async () => {
    expect((await call('POST', '/metadata', recordBody('m', { pad: 'x'.repeat(1024 * 1024) }))).status).toBe(
      413,
    );
    expect((await call('GET', '/metadata/%E0%A4%A')).status).toBe(400);
    expect((await call('PUT', '/metadata/m', '{}')).status).toBe(405);
    expect((await call('GET', '/other')).status).toBe(404);
    expect(await (await call('GET', '/health')).json()).toEqual({ status: 'ok' });
  });
});

describe('faults', () => {
  it('plays scripted replies in order, as often as asked, and then goes on as usual', async () => {
    await fault([
      { status: 503, times: 2, headers: { 'retry-after': '7' } },
      { status: 418, body: 'tea' },
    ]);
    const first = await call('POST', '/metadata', recordBody('m'));
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '7']);
    expect((await call('POST', '/metadata', recordBody('m'))).status).toBe(503);
    expect(await (await call('POST', '/metadata', recordBody('m'))).text()).toBe('tea');
    expect(catalog.records().size).toBe(0);
    expect((await call('POST', '/metadata', recordBody('m'))).status).toBe(201);
  });

  it('keeps a fault for the id and method that it names', async () => {
    await fault({ status: 500, match: { id: 'bad', method: 'POST' } });
    expect((await call('POST', '/metadata', recordBody('good'))).status).toBe(201);
    expect((await call('GET', '/metadata/bad')).status).toBe(404);
    expect((await call('POST', '/metadata', recordBody('bad'))).status).toBe(500);
  });

  it('does the work of a slow call even when its caller has left', async () => {
    catalog.script({ mode: 'reply', delayMs: 1000 });
    const leaving = new AbortController();
    const impatient = fetch(`${catalog.url}/metadata`, {
      method: 'POST',
      body: recordBody('late'),
      signal: leaving.signal,
    });
    await whenTrue(() => catalog.requests.length === 1);
    leaving.abort();
    await expect(impatient).rejects.toThrow(/abort/);
    await expect(whenTrue(() => catalog.records().has('late'))).resolves.toBe(true);
    expect(catalog.requests[0]).toMatchObject({ status: null, applied: true });
  });

  it('breaks connections before and after the work', async () => {
    catalog.script({ mode: 'reset' }, { mode: 'apply-then-drop' }, { mode: 'apply-then-500' });
    await expect(call('POST', '/metadata', recordBody('a'))).rejects.toThrow('fetch failed');
    await expect(call('POST', '/metadata', recordBody('b'))).rejects.toThrow('fetch failed');
    expect((await call('POST', '/metadata', recordBody('c'))).status).toBe(500);
    expect([...catalog.records().keys()]).toEqual(['b', 'c']);
    expect(catalog.requests.map(({ status, applied }) => [status, applied])).toEqual([
      [null, false],
      [null, true],
      [500, true],
    ]);
  });

  it('is told when a fault makes no sense, and forgets faults on request', async () => {
    expect((await fault({ mode: 'explode' })).status).toBe(400);
    expect((await fault({ status: 99 })).status).toBe(400);
    expect((await fault({ body: 'without status' })).status).toBe(400);
    expect(() => catalog.script({ times: 0 })).toThrow(TypeError);
    await fault({ status: 500, times: 100 });
    expect(await (await call('GET', '/_sim/faults')).json()).toMatchObject([{ status: 500, times: 100 }]);
    expect((await call('DELETE', '/_sim/faults')).status).toBe(204);
    expect((await call('GET', '/metadata')).status).toBe(204);
  });

  it('stops while a call hangs', async () => {
    catalog.script({ mode: 'hang' });
    const hanging = call('GET', '/metadata');
    await whenTrue(() => catalog.requests.length === 1);
    await Promise.all([expect(hanging).rejects.toThrow('fetch failed'), catalog.stop()]);
  });
});

describe('the log', () => {
  it('shows each call with its key and body, but not the token', async () => {
    const headers = { 'idempotency-key': 'k1', authorization: 'Bearer secret-token' };
    await call('POST', '/metadata?x=1', recordBody('m'), headers);
    const log = await (await call('GET', '/_sim/requests')).text();
    expect(log).not.toContain('secret-token');
    expect(JSON.parse(log)).toEqual([
      {
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        method: 'POST',
        path: '/metadata',
        idempotencyKey: 'k1',
        authorization: true,
        body: recordBody('m'),
        status: 201,
        applied: true,
      },
    ]);
    expect(await (await call('GET', '/_sim/records')).json()).toEqual([JSON.parse(recordBody('m'))]);
  });

  it('drops its oldest entries beyond its bounds', () => {
    const log = new RequestLog(3, 10);
    const entry = {
      at: '',
      method: 'GET',
      idempotencyKey: null,
      authorization: false,
      status: null,
      applied: false,
    };
    for (const path of ['1', '2', '3', '4']) log.append({ ...entry, path, body: '' });
    expect(log.entries.map(({ path }) => path)).toEqual(['2', '3', '4']);
    log.append({ ...entry, path: '5', body: '12345678' });
    log.append({ ...entry, path: '6', body: '123' });
    expect(log.entries.map(({ path }) => path)).toEqual(['6']);
  });
});

/** Polls until the condition holds; it must hold within twenty seconds. */
async function whenTrue(condition: () => boolean): Promise<true> {
  for (let turn = 0; turn < 4000; turn += 1) {
    if (condition()) return true;
    // The simulator tells nobody about its progress: look again in a moment.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('the condition did not come true within twenty seconds');
}
