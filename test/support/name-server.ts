import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const TYPE_A = 1;

/** A real name server, which says of names what a test wants; IPv4 only. */
export class NameServer {
  readonly addresses = new Map<string, string[]>();
  /** Names that it was asked for an IPv4 address of, each time. */
  readonly asked: string[] = [];
  /** Whether it answers at all. */
  silent = false;

  private constructor(private readonly socket: Socket) {
    socket.on('message', (question, from) => {
      const answer = this.answer(question);
      if (!this.silent) socket.send(answer, from.port, from.address);
    });
  }

  static async start(): Promise<NameServer> {
    const socket = createSocket('udp4');
    const server = new NameServer(socket);
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.socket.address().port}`;
  }

  async stop(): Promise<void> {
    this.socket.close();
    await once(this.socket, 'close');
  }

  private answer(question: Buffer): Buffer {
    const labels: string[] = [];
    let at = 12;
    while (question[at]! > 0) {
      const length = question[at]!;
      labels.push(question.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const asked = question.subarray(12, at + 5);
    const isA = question.readUInt16BE(at + 1) === TYPE_A;
    const name = labels.join('.').toLowerCase();
    if (isA) this.asked.push(name);
    const known = this.addresses.get(name);
    const found = isA ? (known ?? []) : [];
    const head = Buffer.alloc(12);
    question.copy(head, 0, 0, 2);
    // An answer to a recursive question; 3: there is no such name.
    head.writeUInt16BE(0x8180 + (known ? 0 : 3), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(found.length, 6);
    const records = found.map((address) =>
      Buffer.from([0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]),
    );
    return Buffer.concat([head, asked, ...records]);
  }
}
