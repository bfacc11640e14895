import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { type Scope, SCOPES } from '@app/platform/auth/api-key.js';
import { ApiUser, apiUser } from '../../support/api-client.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';
import { servedRoutes, type ServedRoute } from '../../support/routes.js';
import { serviceEnvironment, startService, type TestService } from '../../support/service.js';

// Every route is asked in many ways.
jest.setTimeout(120_000);

let database: TestDatabase;
let service: TestService;
let routes: ServedRoute[];
let workerRoutes: ServedRoute[];

beforeAll(async () => {
  database = await createTestDatabase();
  const environment = (SERVICE_TYPE: string) =>
    serviceEnvironment(database.url, testRedis(), { SERVICE_TYPE });
  [service, routes, workerRoutes] = await Promise.all([
    startService(environment('api')),
    servedRoutes(environment('api')),
    servedRoutes(environment('task-worker')),
  ]);
}, 60_000);
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

/** Who may use which route. One that is not named here fails the test, as does one that is served no more. */
const ROUTES: Record<string, Scope | 'anybody'> = {
  'POST /jobs': 'jobs:write',
  'GET /jobs': 'jobs:read',
  'GET /jobs/:jobId': 'jobs:read',
  'PUT /jobs/:jobId': 'jobs:write',
  'DELETE /jobs/:jobId': 'jobs:write',
  'GET /jobs/:jobId/progress': 'jobs:read',
  'GET /jobs/:jobId/status': 'jobs:read',
  'GET /jobs/:jobId/tasks': 'jobs:read',
  'GET /jobs/:jobId/events': 'jobs:read',
  'GET /jobs/:jobId/explain': 'jobs:read',
  'POST /jobs/:jobId/cancel': 'jobs:write',
  'POST /jobs/:jobId/retry': 'jobs:write',
  'POST /jobs/:jobId/resolve': 'admin',
  'GET /events': 'jobs:read',
  'POST /ws-tickets': 'jobs:read',
  'GET /job-types': 'jobs:read',
  'GET /workers': 'jobs:read',
  'GET /pauses': 'jobs:read',
  'PUT /pauses/types/:name': 'admin',
  'DELETE /pauses/types/:name': 'admin',
  'PUT /pauses/tags/:name': 'admin',
  'DELETE /pauses/tags/:name': 'admin',
  'POST /schedules': 'schedules:write',
  'GET /schedules': 'jobs:read',
  'POST /schedules/preview': 'jobs:read',
  'GET /schedules/:scheduleId': 'jobs:read',
  'PATCH /schedules/:scheduleId': 'schedules:write',
  'DELETE /schedules/:scheduleId': 'schedules:write',
  'POST /schedules/:scheduleId/pause': 'schedules:write',
  'POST /schedules/:scheduleId/resume': 'schedules:write',
  'POST /schedules/:scheduleId/trigger': 'schedules:write',
  'GET /schedules/:scheduleId/slots': 'jobs:read',
  'POST /webhooks': 'jobs:write',
  'GET /webhooks': 'jobs:read',
  'GET /webhooks/:webhookId': 'jobs:read',
  'PATCH /webhooks/:webhookId': 'jobs:write',
  'DELETE /webhooks/:webhookId': 'jobs:write',
  'POST /webhooks/:webhookId/rotate': 'jobs:write',
  'POST /webhooks/:webhookId/test': 'jobs:write',
  'GET /webhooks/:webhookId/deliveries': 'jobs:read',
  'POST /webhooks/:webhookId/deliveries/:deliveryId/redeliver': 'jobs:write',
  'POST /api-keys': 'admin',
  'GET /api-keys': 'admin',
  'DELETE /api-keys/:keyId': 'admin',
  'GET /health/live': 'anybody',
  'GET /health/ready': 'anybody',
  'GET /metrics': 'anybody',
  'GET /openapi.json': 'anybody',
};
/** The page that describes the API, and its parts. */
const isPage = ({ path }: ServedRoute) => /^\/docs(\/|-yaml$|$)/.test(path);

/** A route asks the same of HEAD as of GET. */
const allowedOn = (route: ServedRoute): Scope | 'anybody' | undefined =>
  isPage(route) ? 'anybody' : ROUTES[`${route.method === 'HEAD' ? 'GET' : route.method} ${route.path}`];

/** The address of a route, for things that are not there. */
const addressOf = ({ path }: ServedRoute) =>
  path
    .replace(/:jobId|:scheduleId/, '019a0000-0000-7000-8000-000000000000')
    .replace(/:\w+/, 'nobody12')
    .replace('*', 'x');

async function statusOf(route: ServedRoute, key?: string): Promise<number> {
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${service.url}${addressOf(route)}`, { method: route.method, headers });
  // A stream of events has no end.
  await answer.body?.cancel();
  return answer.status;
}

/** As it is written: fetch would put the path right. */
function rawStatus(method: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(new URL(service.url), { method, path }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}

describe('input 36: every route of the running application', () => {
  test('is one that is known here, and all that are known are served', () => {
    expect(routes.filter((route) => allowedOn(route) === undefined)).toEqual([]);
    const served = new Set(routes.map(({ method, path }) => `${method} ${path}`));
    expect(Object.keys(ROUTES).filter((route) => !served.has(route))).toEqual([]);
  });

  test('answers 401 without a credential, unless it is for anybody (inputs 1, 33)', async () => {
    for (const route of routes) {
      const refused = (await statusOf(route)) === 401;
      expect({ route, refused }).toEqual({ route, refused: allowedOn(route) !== 'anybody' });
    }
  });

  test('admits exactly its scope and admin (inputs 30, 31)', async () => {
    const keys = new Map<string, string>();
    for (const scope of SCOPES) keys.set(scope, (await apiUser(service, 'alice', [scope])).key);
    keys.set('no scope', (await apiUser(service, 'alice', [])).key);
    for (const route of routes) {
      const admitted: string[] = [];
      for (const [scope, key] of keys) {
        const status = await statusOf(route, key);
        expect(status).not.toBe(401);
        expect(status).toBeLessThan(500);
        if (status !== 403) admitted.push(scope);
      }
      const allowed = allowedOn(route);
      const expected = allowed === 'anybody' ? [...keys.keys()] : [...new Set([allowed, 'admin'])];
      expect({ route, admitted }).toEqual({ route, admitted: expected });
    }
  });

  test('a refusal for a scope names the scope and nothing else (input 30)', async () => {
    const reader = await apiUser(service, 'alice', ['jobs:read']);
    const { status, body } = await reader.send('POST', '/jobs', { numTask: 1 });
    expect([status, body.type, body.detail]).toEqual([
      403,
      'urn:longhaul:problem:insufficient-scope',
      'This needs the scope jobs:write.',
    ]);
    expect((await reader.get('/jobs')).body.jobs).toEqual([]);
  });
});

test.each([
  '//jobs',
  '/jobs/',
  '/JOBS',
  '/jobs;a=b',
  '/%6aobs',
  '/./jobs',
  '/x/../jobs',
  '/%2e/jobs',
  '/jobs%2f',
  '/jobs?',
  '/jobs#x',
  '/jobs%00',
  '//api-keys',
  '/api-keys/',
  '/%61pi-keys',
])('input 34: nobody gets through by writing a path as %s', async (path) => {
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE']) {
    const status = await rawStatus(method, path);
    expect({ method, status: [400, 401, 404, 405].includes(status) || status }).toEqual({
      method,
      status: true,
    });
  }
});

test('input 35: a worker serves its health and its measurements, and nothing else', async () => {
  const paths = [...new Set(workerRoutes.map(({ path }) => path))];
  expect(paths.toSorted()).toEqual(['/health/live', '/health/ready', '/metrics']);
});

test('input 96: health and metrics name no owner, job or key', async () => {
  const user = await apiUser(service, 'owner-of-secrets');
  const { jobId } = await user.submit({ numTask: 1 });
  for (const path of ['/health/live', '/health/ready', '/metrics']) {
    const text = await (await fetch(new ApiUser(service.url, '').url + path)).text();
    for (const told of ['owner-of-secrets', jobId, user.key.split('_')[1]!]) expect(text).not.toContain(told);
  }
});
