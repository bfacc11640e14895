import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** A call as it came. */
export interface ReceivedCall {
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** Answers one call; `nth` counts from 1 for its path. */
export type Answer = (nth: number, reply: ServerResponse, call: ReceivedCall) => void;

/** A real HTTP server that is called as a webhook. */
export class WebhookReceiver {
  readonly calls: ReceivedCall[] = [];
  connections = 0;
  /** By path; any other path answers 204. */
  readonly answers = new Map<string, Answer>();
  /** Paths that answer 101 and nothing more. */
  readonly switches = new Set<string>();

  private constructor(private readonly server: Server) {
    server.on('connection', () => this.connections++);
    server.on('request', (request, reply) => void this.receive(request, reply));
  }

  static async start(host = '127.0.0.1', port = 0): Promise<WebhookReceiver> {
    const server = createServer();
    const receiver = new WebhookReceiver(server);
    server.listen(port, host);
    await once(server, 'listening');
    return receiver;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  to(path: string): ReceivedCall[] {
    return this.calls.filter((call) => call.path === path);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async receive(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    reply.on('error', () => {});
    const call = {
      path: request.url ?? '',
      headers: request.headers as Record<string, string>,
      body: await text(request),
    };
    this.calls.push(call);
    const answer = this.answers.get(call.path);
    if (this.switches.has(call.path))
      reply.socket?.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
    else if (answer) answer(this.to(call.path).length, reply, call);
    else reply.writeHead(204).end();
  }
}
