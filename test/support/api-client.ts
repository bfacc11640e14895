import type { Job } from '@app/core';
import { withClient } from '@app/platform/prisma/open-client.js';
import { issueApiKey } from '@app/platform/prisma/api-key-store.js';
import type { Scope } from '@app/platform/auth/api-key.js';
import { eventually, type Patience } from './eventually.js';

/** An answer of the API, read to its end. */
export interface ApiAnswer {
  status: number;
  headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies that are theirs to judge
  body: any;
}

/** Speaks to a service as one owner would. */
export class ApiUser {
  constructor(
    readonly url: string,
    readonly key: string,
  ) {}

  async send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<ApiAnswer> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.key}`,
        // The same for all, so that two answers can be compared byte by byte.
        'x-request-id': 'test',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    // A stream of events has no end.
    const streams = response.headers.get('content-type') === 'text/event-stream';
    if (streams) await response.body?.cancel();
    const text = streams ? '' : await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
  }

  get(path: string): Promise<ApiAnswer> {
    return this.send('GET', path);
  }

  /** Submits a job that must be accepted. */
  async submit(body: unknown): Promise<Job> {
    const answer = await this.send('POST', '/jobs', body);
    if (answer.status !== 201)
      throw new Error(`POST /jobs answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body as Job;
  }

  /** Waits until a job has one of the states, by default a final one. */
  until(
    jobId: string,
    statuses: string[] = ['completed', 'failed', 'canceled'],
    patience?: Patience,
  ): Promise<Job> {
    return eventually(async () => {
      const { status, body } = await this.get(`/jobs/${jobId}`);
      if (status !== 200 || !statuses.includes(body.status)) {
        throw new Error(`Job ${jobId}: ${status} ${body?.status ?? JSON.stringify(body)}`);
      }
      return body as Job;
    }, patience);
  }
}

/** A user of a service, with a key of their own in its database. */
export async function apiUser(
  service: { url: string; databaseUrl: string },
  ownerId: string,
  scopes: Scope[] = ['jobs:read', 'jobs:write'],
): Promise<ApiUser> {
  const { text } = await withClient(service.databaseUrl, (client) =>
    issueApiKey(client, { ownerId, name: 'test', scopes }),
  );
  return new ApiUser(service.url, text);
}
