import type { WebSocket } from 'ws';
import type { LiveSubscription, LiveMessage } from '@app/engine/live/live-subscription.js';
import type { Principal } from '@app/platform/auth/principal.js';
import { pointerTo, problemOf, problemOfIssues } from '../problems/problem.js';
import { type Message, toJson } from './frames.js';
import type { LiveConnection } from './live-connections.js';
import { ClientMessage } from './live.schemas.js';
import { Outgoing } from './outgoing.js';
import { unknownJobs } from './unknown-jobs.js';

/** How a connection ends. 4401 is ours, for what 401 is to a request. */
export const CLOSED = {
  expired: [4401, 'The credential holds no more.'],
  ticket: [4401, 'The ticket is unknown, used or too old.'],
  stopping: [1001, 'This process is stopping. Come again: another one answers.'],
  binary: [1003, 'Messages are text.'],
  flood: [1008, 'These are more messages than are taken.'],
  slow: [1013, 'More has happened than was read. Come again with the last id.'],
  failed: [1011, 'The feed has failed for a reason that is ours. Come again with the last id.'],
} as const;

/** Messages, pings among them, that a client may send within a second. */
const MOST_MESSAGES = 20;
/** Letters that the socket itself may hold; the rest waits with us, where it is shared with others. */
const IN_SOCKET = 64 * 1024;
/** How long a peer may take to answer a close, in milliseconds. */
const CLOSE_MS = 1000;

/** What a connection is made of. */
interface ConnectionOptions {
  principal: Principal;
  /** Letters that may wait to be read. */
  most: number;
  subscribe: (tell: (messages: LiveMessage[]) => Promise<void>, fail: () => void) => LiveSubscription;
  /** The connection is gone, with its code. */
  closed: (code: number) => void;
}

/** One client on a WebSocket. */
export class WebSocketConnection implements LiveConnection {
  readonly principal: Principal;
  private readonly out: Outgoing;
  private readonly subscription: LiveSubscription;
  private alive = true;
  private sending = false;
  private received = { since: 0, count: 0 };

  constructor(
    private readonly socket: WebSocket,
    options: ConnectionOptions,
  ) {
    this.principal = options.principal;
    this.out = new Outgoing(options.most);
    this.subscription = options.subscribe(
      (messages) => {
        this.tell(messages);
        return this.out.room();
      },
      () => this.close('failed'),
    );
    socket
      .on('message', (data, isBinary) => this.receive(data as Buffer, isBinary))
      .on('ping', () => this.count())
      .on('pong', () => (this.alive = true))
      // What is wrong with a frame has its close code from the library.
      .on('error', () => {})
      .once('close', (code) => {
        this.subscription.close();
        this.out.clear();
        options.closed(code);
      });
  }

  /** Begins to tell. */
  open(after: string | undefined, jobIds: string[]): void {
    this.subscription.open(after).then(
      (unknown) => this.tell(unknownJobs(unknown, jobIds)),
      () => this.close('failed'),
    );
  }

  /** Asks the peer for a sign of life, and ends the connection when the last one was not answered. */
  async beat(): Promise<void> {
    if (!this.alive) return this.terminate();
    this.alive = false;
    this.socket.ping();
    const id = await this.subscription.position().catch(() => undefined);
    this.tell([{ event: 'heartbeat', ...(id === undefined ? {} : { id }), data: { at: new Date() } }]);
  }

  end(why: 'expired' | 'stopping'): void {
    this.close(why);
  }

  terminate(): void {
    this.socket.terminate();
  }

  private close(why: keyof typeof CLOSED): void {
    this.subscription.close();
    this.out.clear();
    closeSocket(this.socket, why);
  }

  private tell(messages: readonly Message[]): void {
    if (this.socket.readyState !== this.socket.OPEN || messages.length === 0) return;
    if (!this.out.add(messages.map(toJson))) return this.close('slow');
    this.pump();
  }

  private pump(): void {
    if (this.sending) return;
    while (this.socket.bufferedAmount < IN_SOCKET) {
      const frame = this.out.take();
      if (frame === undefined) return;
      this.socket.send(frame);
    }
    const frame = this.out.take();
    if (frame === undefined) return;
    // Called when all that was sent before it has left.
    this.sending = true;
    this.socket.send(frame, () => {
      this.sending = false;
      this.pump();
    });
  }

  private receive(data: Buffer, isBinary: boolean): void {
    if (this.socket.readyState !== this.socket.OPEN) return;
    if (isBinary) return this.close('binary');
    if (!this.count()) return;
    const parsed = parse(data.toString());
    if ('problem' in parsed) return this.tell([{ event: 'error', data: parsed.problem }]);
    const { data: filter } = parsed.message;
    this.subscription.change(filter).then(
      (unknown) => this.tell(unknownJobs(unknown, filter.jobIds)),
      () => this.close('failed'),
    );
  }

  private count(): boolean {
    const now = performance.now();
    if (now - this.received.since >= 1000) this.received = { since: now, count: 0 };
    const few = ++this.received.count <= MOST_MESSAGES;
    if (!few) this.close('flood');
    return few;
  }
}

/** Closes a socket, and ends it when its peer does not answer. */
export function closeSocket(socket: WebSocket, why: keyof typeof CLOSED): void {
  const [code, reason] = CLOSED[why];
  socket.close(code, reason);
  const late = setTimeout(() => socket.terminate(), CLOSE_MS).unref();
  socket.once('close', () => clearTimeout(late));
}

function parse(text: string): { message: ClientMessage } | { problem: unknown } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: problemOf('malformed-request', 'Messages are JSON.') };
  }
  const parsed = ClientMessage.safeParse(json);
  if (parsed.success) return { message: parsed.data };
  const issues = parsed.error.issues.map(({ path, message }) => ({
    pointer: pointerTo(path as (string | number)[]),
    message,
  }));
  return { problem: problemOfIssues('validation-error', issues) };
}
