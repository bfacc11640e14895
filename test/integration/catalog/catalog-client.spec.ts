import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type RunningCatalog, startCatalog } from '../../../apps/catalog-sim/src/catalog-server.js';
import {
  CatalogClient,
  type CatalogClientOptions,
} from '../../../libs/platform/src/catalog/catalog-client.js';
import { recordBody } from './catalog-records.js';

let catalog: RunningCatalog;
beforeEach(async () => {
  catalog = await startCatalog();
});
afterEach(() => catalog.stop());

const client = (options: Partial<CatalogClientOptions> = {}) =>
  new CatalogClient({ url: catalog.url, timeoutMs: 20_000, ...options });
const unknown = (reason: RegExp) => ({ kind: 'unknown', reason: expect.stringMatching(reason) });

/** What the client makes of a refusal with this body. */
const messageOf = async (body: unknown, options: Partial<CatalogClientOptions> = {}) => {
  catalog.script({ status: 422, body });
  const answer = await client(options).post(recordBody('m'), 'k');
  return answer.kind === 'rejected' ? answer.message : '';
};

describe('post', () => {
  it('is accepted, with the key, the token and the body as given', async () => {
    const answer = await client({ token: 't0ken', url: `${catalog.url}/` }).post(recordBody('m'), 'job.1');
    expect(answer).toEqual({ kind: 'accepted', recordId: 'm' });
    expect(catalog.requests).toMatchObject([
      {
        method: 'POST',
        path: '/metadata',
        idempotencyKey: 'job.1',
        authorization: true,
        body: recordBody('m'),
      },
    ]);
  });

  it.each([200, 202, 204])('is accepted on %d, whatever the body', async (status) => {
    catalog.script({ status, body: 'thanks' });
    expect(await client().post(recordBody('m'), 'k')).toEqual({ kind: 'accepted', recordId: null });
  });

  it('is rejected with what the Catalog says', async () => {
    expect(await client().post('{}', 'k')).toEqual({
      kind: 'rejected',
      status: 400,
      message: expect.stringMatching(/^the Catalog answered 400: id/),
    });
  });

  it.each([400, 402, 405, 409, 410, 413, 415, 422, 451])('is rejected on %d', async (status) => {
    catalog.script({ status });
    expect(await client().post(recordBody('m'), 'k')).toMatchObject({ kind: 'rejected', status });
  });

  it.each([301, 302, 303, 307, 308, 304, 401, 403, 404, 408, 425, 429, 500, 501, 502, 503, 504, 599])(
    'is unknown on %d, in one call (input 78)',
    async (status) => {
      catalog.script({ status, headers: { location: `${catalog.url}/metadata/elsewhere` } });
      expect(await client().post(recordBody('m'), 'k')).toEqual(unknown(new RegExp(`answered ${status}`)));
      expect(catalog.requests).toHaveLength(1);
    },
  );

  it.each([
    ['7', 7000],
    ['0', 0],
    ['99999999999', 86_400_000],
    [new Date(Date.now() - 60_000).toUTCString(), 0],
  ])('tells Retry-After: %s', async (header, retryAfterMs) => {
    catalog.script({ status: 503, headers: { 'retry-after': header } });
    expect(await client().post(recordBody('m'), 'k')).toMatchObject({ kind: 'unknown', retryAfterMs });
  });

  it('reads Retry-After as a date, and ignores nonsense', async () => {
    catalog.script({ status: 429, headers: { 'retry-after': new Date(Date.now() + 90_000).toUTCString() } });
    catalog.script({ status: 429, headers: { 'retry-after': 'soon' } });
    const dated = await client().post(recordBody('m'), 'k');
    expect(dated.kind === 'unknown' && dated.retryAfterMs).toBeGreaterThan(80_000);
    expect(await client().post(recordBody('m'), 'k')).not.toHaveProperty('retryAfterMs');
  });

  it.each(['hang', 'hang-body'] as const)('is unknown when the Catalog makes it wait: %s', async (mode) => {
    catalog.script({ mode });
    expect(await client({ timeoutMs: 50 }).post(recordBody('m'), 'k')).toEqual(
      unknown(/^no reply within 50 ms$/),
    );
  });

  it('is unknown after a reset, and nobody listening', async () => {
    catalog.script({ mode: 'reset' });
    expect(await client().post(recordBody('m'), 'k')).toEqual(unknown(/ECONNRESET|UND_ERR_SOCKET/));
    await catalog.stop();
    expect(await client().post(recordBody('m'), 'k')).toEqual(unknown(/ECONNREFUSED/));
  });

  it('is unknown when the write happened but the answer was lost, and the record is found', async () => {
    catalog.script({ mode: 'apply-then-drop' }, { mode: 'apply-then-500', match: { method: 'POST' } });
    for (const id of ['a', 'b']) {
      expect(await client().post(recordBody(id), id)).toMatchObject({ kind: 'unknown' });
      expect(await client().find(id)).toEqual({ found: JSON.parse(recordBody(id)) });
    }
  });

  it('is unknown when the reply is larger than it reads (input 78)', async () => {
    catalog.script({ status: 201, body: 'x'.repeat(65_537) }, { status: 201, body: 'x'.repeat(65_536) });
    expect(await client().post(recordBody('m'), 'k')).toEqual(unknown(/larger than 65536 bytes/));
    expect(await client().post(recordBody('m'), 'k')).toMatchObject({ kind: 'accepted' });
  });

  it('is unknown when it is given up, before or during the call', async () => {
    expect(await client().post(recordBody('m'), 'k', AbortSignal.abort())).toEqual(
      unknown(/before it began/),
    );
    expect(catalog.requests).toHaveLength(0);
    catalog.script({ mode: 'hang' });
    expect(await client().post(recordBody('m'), 'k', AbortSignal.timeout(30))).toEqual(unknown(/given up$/));
  });
});

describe('find', () => {
  it('finds a record of any id, and tells when there is none', async () => {
    for (const id of ['m', 'a/b?c#d', '..%2f', 'ü 3D']) {
      expect(await client().find(id)).toEqual({ absent: true });
      await client().post(recordBody(id), id);
      expect(await client().find(id)).toEqual({ found: JSON.parse(recordBody(id)) });
    }
  });

  it.each(['', '.', '..', '\ud800'])('does not ask for an id that no path can carry: %j', async (id) => {
    expect(await client().find(id)).toEqual({ unknown: expect.stringMatching(/cannot be asked for/) });
    expect(catalog.requests).toHaveLength(0);
  });

  it.each([
    [{ status: 500 }, /500/],
    [{ status: 400 }, /400/],
    [{ status: 204 }, /204/],
    [{ status: 200, body: '<html>' }, /without a JSON record/],
    [{ status: 200, body: [] }, /without a JSON record/],
    [{ status: 200, body: 'x'.repeat(70_000) }, /larger than/],
    [{ mode: 'reset' as const }, /./],
    [{ mode: 'hang' as const }, /no reply within/],
  ])('is unknown on %j', async (fault, reason) => {
    catalog.script(fault);
    // Only what hangs is given up in time.
    const timeoutMs = 'mode' in fault && fault.mode === 'hang' ? 50 : 20_000;
    expect(await client({ timeoutMs }).find('m')).toEqual({ unknown: expect.stringMatching(reason) });
  });

  it('tells Retry-After', async () => {
    catalog.script({ status: 503, headers: { 'retry-after': '2' } });
    expect(await client().find('m')).toMatchObject({ retryAfterMs: 2000 });
  });
});

describe('what it says', () => {
  it('is one bounded line', async () => {
    expect(await messageOf({ message: 'no\u0000\n\u001b[31m\u202eway' })).toBe(
      'the Catalog answered 422: no [31m way',
    );
    expect(await messageOf('plain text')).toBe('the Catalog answered 422: plain text');
    expect(await messageOf({ detail: 'a problem' })).toBe('the Catalog answered 422: a problem');
    expect(await messageOf('')).toBe('the Catalog answered 422');
    const long = await messageOf('😀'.repeat(2000));
    expect(long.length).toBeLessThanOrEqual(500);
    expect(long).not.toMatch(/\p{Cs}/u);
  });

  it('never holds the token or credentials', async () => {
    const echo = 'x'.repeat(440) + ' Bearer t0ken-s3cret and more';
    expect(await messageOf(echo, { token: 't0ken-s3cret' })).not.toContain('t0ken');
    const url = catalog.url.replace('http://', 'http://ann:p%40ss@');
    const basic = Buffer.from('ann:p@ss').toString('base64');
    const said = await messageOf(`ann:p@ss p%40ss ${basic} http://joe:hush@h.test/`, { url });
    expect(said).toBe('the Catalog answered 422: [hidden] [hidden] [hidden] http://[hidden]@h.test/');
    expect(catalog.requests.at(-1)).toMatchObject({ authorization: true });
  });

  it('stays quick on a reply made to slow it down', async () => {
    // Its own time, whatever else goes on meanwhile.
    const begun = process.cpuUsage();
    await messageOf('a.'.repeat(30_000));
    const { user, system } = process.cpuUsage(begun);
    expect((user + system) / 1000).toBeLessThan(1000);
  });

  it('refuses a URL or token that cannot work, without repeating it', () => {
    for (const options of [{ url: 'ftp://a:hush@b' }, { url: 'hush' }, { token: 'hush\nx-a: b' }]) {
      expect(() => client(options)).toThrow(TypeError);
      expect(() => client(options)).not.toThrow(/hush/);
    }
  });
});
