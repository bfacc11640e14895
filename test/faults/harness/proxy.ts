import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { CommitWatch, FrameReader, Statements } from './postgres-wire.js';

/** What is done with the statements of a service whose commits lose their replies. */
export interface Swallow {
  match: RegExp;
  /** How many replies are still to be lost. */
  left: number;
}

/**
 * Stands between a service and a server on loopback, and is the network that fails: it can be slow, cut, refuse,
 * fall silent, or lose the reply to a commit. Where it leads to can change, as after a restart of the server.
 */
export class Proxy {
  /** Milliseconds by which bytes are late, in both directions. */
  delayMs = 0;
  /** Statements that match are late by so many milliseconds, and what follows them on their connection with them. */
  late: { match: RegExp; ms: number } | undefined;
  /** Connections stay, and nothing passes. */
  silent = false;
  /** Replies that were lost so far. */
  swallowed = 0;
  private refusing = false;
  private swallows: Swallow[] = [];
  private readonly pairs = new Set<[Socket, Socket]>();
  private readonly server: Server;

  private constructor(
    public target: number,
    private readonly speaks: 'postgres' | 'redis',
  ) {
    this.server = createServer((client) => this.accept(client));
  }

  /** Starts on a free port of loopback. */
  static async start(target: number, speaks: 'postgres' | 'redis'): Promise<Proxy> {
    const proxy = new Proxy(target, speaks);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Breaks every connection; new ones are taken. */
  cut(): void {
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
  }

  /** Breaks every connection and takes no new one, until `heal`. */
  partition(): void {
    this.refusing = true;
    this.cut();
  }

  /** From now on everything passes. */
  heal(): void {
    this.refusing = false;
    this.delayMs = 0;
    this.late = undefined;
    this.swallows = [];
    // What was held back is lost with its connections, as when a link comes back after a while.
    if (this.silent) this.cut();
    this.silent = false;
  }

  /** The next `times` commits of statements that match lose their replies, and their connections with them. */
  swallowCommits(match: RegExp, times: number): void {
    this.swallows.push({ match, left: times });
  }

  async stop(): Promise<void> {
    this.refusing = true;
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(client: Socket): void {
    if (this.refusing) return void client.destroy();
    const server = connect({ port: this.target, host: '127.0.0.1' });
    const pair: [Socket, Socket] = [client, server];
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of pair) socket.setNoDelay(true).on('error', end).on('close', end);
    const watch = this.speaks === 'postgres' ? new CommitWatch((sql) => this.wants(sql)) : undefined;
    const lateness = this.speaks === 'postgres' ? this.latenessOf() : () => 0;
    const [up, down] = [new DelayLine(server), new DelayLine(client)];
    client.on('data', (bytes: Buffer) => {
      watch?.sent(bytes);
      this.pass(bytes, up, lateness(bytes));
    });
    server.on('data', (bytes: Buffer) => {
      const fate = watch?.received(bytes) ?? 'pass';
      if (fate === 'pass') this.pass(bytes, down);
      if (fate === 'cut') {
        this.swallowed++;
        end();
      }
    });
  }

  private pass(bytes: Buffer, line: DelayLine, lateMs = 0): void {
    if (!this.silent) line.send(bytes, Math.max(this.delayMs, lateMs));
  }

  /** Follows what a client sends; answers by how much bytes of it are to be late for the statements that they execute. */
  private latenessOf(): (bytes: Buffer) => number {
    const client = new FrameReader(true);
    const statements = new Statements();
    return (bytes) => {
      const executed = client.read(bytes).flatMap((frame) => statements.executed(frame) ?? []);
      const { late } = this;
      return late && executed.some((text) => late.match.test(text)) ? late.ms : 0;
    };
  }

  private wants(sql: string): boolean {
    const swallow = this.swallows.find(({ match, left }) => left > 0 && match.test(sql));
    if (swallow) swallow.left--;
    return swallow !== undefined;
  }
}

/** Writes bytes late and in order, whatever becomes of the delay meanwhile. */
class DelayLine {
  private readonly waiting: { due: number; bytes: Buffer }[] = [];

  constructor(private readonly to: Socket) {}

  send(bytes: Buffer, delayMs: number): void {
    if (delayMs === 0 && this.waiting.length === 0) {
      this.to.write(bytes);
      return;
    }
    const due = Math.max(performance.now() + delayMs, this.waiting.at(-1)?.due ?? 0);
    this.waiting.push({ due, bytes });
    if (this.waiting.length === 1) this.arm();
  }

  private arm(): void {
    const [next] = this.waiting;
    if (!next) return;
    setTimeout(() => {
      this.waiting.shift();
      if (this.to.writable) this.to.write(next.bytes);
      this.arm();
    }, next.due - performance.now());
  }
}
