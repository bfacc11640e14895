import { once } from 'node:events';
import { connect } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { withClient } from '@app/platform/prisma/open-client.js';
import { type ApiUser, apiUser } from './api-client.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { testRedis } from './redis.js';
import { serviceEnvironment, startService, type TestService } from './service.js';

// For inputs that a service on a network gets sooner or later. Whatever they are, they are answered with a problem, in
// good time, and leave no row behind. The numbers in the titles are those of the list that they were gathered in.

export interface Refusal {
  status: number;
  slug: string;
  headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- the tests look into it
  body: any;
}

const TABLES = [
  'jobs',
  'tasks',
  'task_inputs',
  'dispatch',
  'job_events',
  'job_labels',
  'idempotency_keys',
  'dedupe_keys',
];

/** A service that is sent what it must refuse. */
export class RefusingService {
  /** Of every answer. */
  readonly statuses: number[] = [];

  constructor(
    readonly database: TestDatabase,
    readonly service: TestService,
    readonly alice: ApiUser,
  ) {}

  /** Sends a request that must be refused, with a problem as every refusal is one. */
  async refused(path: string, init: RequestInit = {}): Promise<Refusal> {
    const began = performance.now();
    const response = await fetch(`${this.service.url}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${this.alice.key}`, ...(init.headers as Record<string, string>) },
    });
    const text = await response.text();
    expect(performance.now() - began).toBeLessThan(20_000);
    this.statuses.push(response.status);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    const body = JSON.parse(text);
    expect(body.status).toBe(response.status);
    expect(body.type).toMatch(/^urn:longhaul:problem:[a-z-]+$/);
    expect(body.instance).toBe(`urn:longhaul:request:${response.headers.get('x-request-id')}`);
    expect(text).not.toMatch(/node_modules|at .*\.[jt]s:\d|SELECT|INSERT|prisma|postgres/i);
    return { status: response.status, slug: body.type.slice(21), headers: response.headers, body };
  }

  /** Sends bytes; answers the status and all that is said until the connection is closed. */
  async raw(bytes: string): Promise<{ status: number; text: string }> {
    const socket = connect(Number(new URL(this.service.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(bytes);
    const text = await readAll(socket);
    const status = Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);
    this.statuses.push(status);
    return { status, text };
  }

  /** How many rows there are in everything that a submit writes. */
  async rows(): Promise<string> {
    const counts = TABLES.map((table) => `(SELECT count(*) FROM ${table})`).join(` || ' ' || `);
    const [row] = await withClient(this.database.url, (client) =>
      client.$queryRawUnsafe<{ counts: string }[]>(`SELECT ${counts} AS counts`),
    );
    return row?.counts ?? '';
  }
}

/** The body of a submit, as JSON or as it is. */
export const json = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});
/** The body of a job of the demo type. */
export const demo = (more: object) => ({ type: 'demo.wait', ...more });

/**
 * Starts such a service for a test file, and sees in the end that nothing it refused was a fault of its own or has
 * written a row, and that it still answers.
 * @param least how many requests the file sends at least
 * @param more settings of the service
 */
export function refusingService(least: number, more: Record<string, string> = {}): () => RefusingService {
  let database: TestDatabase;
  let service: TestService;
  let tested: RefusingService;
  let before: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    const settings = { SERVICE_TYPE: 'api', ...more };
    service = await startService(serviceEnvironment(database.url, testRedis(), settings));
    tested = new RefusingService(database, service, await apiUser(service, 'alice'));
    before = await tested.rows();
  }, 60_000);
  afterAll(async () => {
    try {
      expect(tested.statuses.filter((status) => status >= 500)).toEqual([]);
      expect(tested.statuses.length).toBeGreaterThanOrEqual(least);
      expect(await tested.rows()).toBe(before);
      expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
    } finally {
      await service?.stop();
      await database?.drop();
    }
  });
  return () => tested;
}
