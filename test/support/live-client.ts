import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { WebSocket, type ClientOptions } from 'ws';
import { eventually } from './eventually.js';

/** What a WebSocket of the service says. */
export interface LiveText {
  event: string;
  id?: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into what is theirs to judge
  data: any;
}

/** A client on a WebSocket, and all that it was told. */
export class LiveClient {
  readonly told: LiveText[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(readonly socket: WebSocket) {
    socket.on('message', (data) => this.told.push(JSON.parse(String(data)) as LiveText));
    socket.on('error', () => {});
    this.closed = once(socket, 'close').then(([code, reason]: unknown[]) => ({
      code: Number(code),
      reason: String(reason),
    }));
  }

  /** The id of the last message that had one. */
  get lastId(): string {
    return this.told.findLast(({ id }) => id !== undefined)?.id ?? '';
  }

  /** What it was told of a job, or of all, by the name of the event. */
  of(event: string, jobId?: string): LiveText['data'][] {
    return this.told
      .filter((one) => one.event === event && (jobId === undefined || one.data.jobId === jobId))
      .map(({ data }) => data);
  }

  say(event: string, data: unknown): void {
    this.socket.send(JSON.stringify({ event, data }));
  }

  /** Waits for the first message that fits; there may be many megabytes before it. */
  heard(fits: (message: LiveText) => boolean, timeout = 25_000): Promise<LiveText> {
    return eventually(
      () => {
        const found = this.told.find(fits);
        if (!found)
          throw new Error(`Not heard among ${this.told.length}: ${JSON.stringify(this.told.slice(-5))}`);
        return found;
      },
      { timeout },
    );
  }

  /** Waits for a state of a job. */
  status(jobId: string, status: string, timeout?: number): Promise<LiveText> {
    return this.heard(
      ({ event, data }) => event === 'job-update' && data.jobId === jobId && data.status === status,
      timeout,
    );
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}

interface Target {
  url: string;
  key?: string;
}

function socketTo(
  { url, key }: Target,
  path: string,
  options: ClientOptions,
  protocols: string[],
): WebSocket {
  const headers = { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...options.headers };
  return new WebSocket(`${url.replace(/^http/, 'ws')}${path}`, protocols, { ...options, headers });
}

/** Connects; settles when the service has begun to tell. */
export async function listen(
  target: Target,
  path = '/',
  options: ClientOptions = {},
  protocols: string[] = [],
): Promise<LiveClient> {
  const client = new LiveClient(socketTo(target, path, options, protocols));
  await Promise.race([
    client.heard(({ event }) => event === 'subscribed'),
    once(client.socket, 'unexpected-response').then(([, answer]) => {
      throw new Error(`The upgrade was answered with ${(answer as { statusCode: number }).statusCode}.`);
    }),
  ]);
  return client;
}

/** Tries to connect; answers the status of the upgrade, 101 when it was taken, and the problem that came with it. */
export async function upgrade(
  target: Target,
  path = '/',
  options: ClientOptions = {},
  protocols: string[] = [],
): Promise<{ status: number; type?: string; headers: Record<string, unknown>; code?: number }> {
  const socket = socketTo(target, path, options, protocols);
  socket.on('error', () => {});
  const refused = once(socket, 'unexpected-response').then(async ([, answer]: unknown[]) => {
    const { statusCode = 0, headers } = answer as IncomingMessage;
    return { status: statusCode, type: JSON.parse(await text(answer as IncomingMessage)).type, headers };
  });
  const taken = once(socket, 'open').then(async () => {
    const closed = once(socket, 'close').then(([code]: unknown[]) => Number(code));
    // Who is let in is told something, and who is not is told nothing.
    const code = await Promise.race([closed, once(socket, 'message').then(() => undefined)]);
    socket.terminate();
    return { status: 101, headers: {}, ...(code === undefined ? {} : { code }) };
  });
  return Promise.race([refused, taken]);
}
