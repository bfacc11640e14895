import { Readable } from 'node:stream';
import type { Principal } from '@app/platform/auth/principal.js';
import { type Message, toEventStream } from './frames.js';
import type { LiveConnection } from './live-connections.js';
import { Outgoing } from './outgoing.js';

/** After how many milliseconds a client comes back that has lost its connection. */
const RETRY_MS = 2000;

/** What a stream is made of. */
interface StreamOptions {
  principal: Principal;
  /** Letters that may wait to be read. */
  most: number;
  /** Between two signs of life. */
  heartbeatMs: number;
  /** The place behind all that was told, for who hears nothing for long. */
  position?: () => Promise<string | undefined>;
  closed: () => void;
}

/** Server-sent events to one listener, as the body of an answer. */
export class EventStream extends Readable implements LiveConnection {
  readonly principal: Principal;
  private readonly out: Outgoing;
  private readonly beat: NodeJS.Timeout;
  private wanted = false;
  private ended = false;

  constructor(private readonly options: StreamOptions) {
    super();
    this.principal = options.principal;
    this.out = new Outgoing(options.most);
    this.beat = setInterval(() => void this.showLife(), options.heartbeatMs).unref();
    this.send([`retry: ${RETRY_MS}\n\n`]);
  }

  /** Tells messages in order; settles when more can be told. */
  tell(messages: readonly Message[]): Promise<void> {
    this.send(messages.map(toEventStream));
    return this.out.room();
  }

  /** Nothing is told any more: what waits is sent, and the answer ends. */
  finish(): void {
    this.ended = true;
    this.pump();
  }

  end(): void {
    this.out.clear();
    this.finish();
  }

  terminate(): void {
    this.destroy();
  }

  override _read(): void {
    this.wanted = true;
    this.pump();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearInterval(this.beat);
    this.out.clear();
    this.options.closed();
    done(error);
  }

  private send(frames: string[]): void {
    if (this.ended || this.destroyed) return;
    if (this.out.add(frames)) this.pump();
    // It reads too slowly, and comes back with the id of what it has read.
    else this.destroy();
  }

  private pump(): void {
    while (this.wanted) {
      const frame = this.out.take();
      if (frame === undefined) break;
      this.wanted = this.push(frame);
    }
    if (this.ended && this.wanted && !this.readableEnded) {
      this.wanted = false;
      this.push(null);
    }
  }

  private async showLife(): Promise<void> {
    const id = await this.options.position?.().catch(() => undefined);
    this.send([id === undefined ? ': alive\n\n' : `: alive\nid: ${id}\n\n`]);
  }
}
