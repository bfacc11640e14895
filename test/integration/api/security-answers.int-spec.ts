import { describe, expect, test } from '@jest/globals';
import { refusingService } from '../../support/refusing-service.js';
import { testRedis } from '../../support/redis.js';
import { serviceEnvironment, startService } from '../../support/service.js';

const tested = refusingService(5);

/** The id that a request gets which came with this one. */
const idOf = async (id?: string) =>
  (
    await tested().refused('/nowhere', id === undefined ? {} : { headers: { 'x-request-id': id } })
  ).headers.get('x-request-id');

describe('answers', () => {
  test('take over a sane X-Request-Id, and have one of their own else', async () => {
    expect(await idOf('trace-1.a:b')).toBe('trace-1.a:b');
    for (const id of [undefined, 'a b', 'x'.repeat(200), '<script>'])
      expect(await idOf(id)).toMatch(/^[0-9a-f-]{36}$/);
    expect((await tested().alice.get('/jobs')).headers.get('x-request-id')).toBe('test');
  });

  test('input 97: a page of another origin may read nothing', async () => {
    const preflight = await fetch(`${tested().service.url}/jobs`, {
      method: 'OPTIONS',
      headers: { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST' },
    });
    const read = await tested().alice.send('GET', '/jobs', undefined, {
      origin: 'https://elsewhere.example',
    });
    for (const { headers } of [preflight, read]) {
      expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });

  test('input 97: a page of an origin that is named may, and of another one may not', async () => {
    const named = await startService(
      serviceEnvironment(tested().database.url, testRedis(), {
        SERVICE_TYPE: 'api',
        CORS_ORIGINS: 'https://app.example.com',
        TRUST_PROXY: '10.0.0.0/8, ::1',
      }),
    );
    try {
      const allowed = async (origin: string, method: string) => {
        const asks = { origin, 'access-control-request-method': 'POST' };
        const { headers } = await fetch(`${named.url}/jobs`, { method, headers: asks });
        expect(headers.get('access-control-allow-credentials')).toBeNull();
        return headers.get('access-control-allow-origin');
      };
      for (const method of ['OPTIONS', 'GET']) {
        expect(await allowed('https://app.example.com', method)).toBe('https://app.example.com');
        expect(await allowed('https://app.example.com.evil.io', method)).toBeNull();
      }
    } finally {
      await named.stop();
    }
  }, 30_000);

  test.each(['/jobs', '/nowhere', '/jobs/x', '/jobs/%zz', '/health/live'])(
    'input 98: %s is answered with the headers that browsers heed',
    async (path) => {
      const { headers } = await fetch(`${tested().service.url}${path}`);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
      expect(headers.get('strict-transport-security')).toMatch(/max-age=\d+/);
      expect(headers.get('x-powered-by')).toBeNull();
    },
  );
});
