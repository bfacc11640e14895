import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { simpleParser } from 'mailparser';
import { SMTPServer, type SMTPServerSession } from 'smtp-server';

/** A message that the sink has taken. */
export interface TakenMail {
  to: string;
  from: string;
  messageId: string;
  subject: string;
  text: string;
  html: string;
  headers: string[];
}

/** How the whole server behaves. */
export type SinkMode = 'works' | 'refuses' | 'hangs' | 'drops';

/** A real SMTP server that takes mail for nobody, and can be as bad as servers are. */
export class SmtpSink {
  /** What it has taken, and is answerable for. */
  readonly taken: TakenMail[] = [];
  /** The Message-ID of every message that came to its end, taken or not, by recipient. */
  readonly tries = new Map<string, string[]>();
  connections = 0;
  mode: SinkMode = 'works';
  /** What it answers to a recipient, each time; undefined: it is welcome. */
  welcome: (address: string) => number | undefined = () => undefined;
  /** What it answers to a sender, likewise. */
  accepts: (sender: string) => number | undefined = () => undefined;
  /** Whether the end of a message to a recipient is answered, or waited for. */
  holds: (address: string) => boolean = () => false;
  private readonly server: SMTPServer;
  /** Sessions in the middle of a message. */
  private readonly reading = new Set<string>();

  private constructor() {
    this.server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      logger: false,
      disableReverseLookup: true,
      closeTimeout: 100,
      onConnect: (_session, answer) => {
        this.connections++;
        if (this.mode === 'hangs') return;
        if (this.mode === 'refuses') answer(refusal(421));
        else answer();
      },
      onMailFrom: ({ address }, _session, answer) => {
        const code = this.accepts(address);
        answer(code === undefined ? null : refusal(code));
      },
      onRcptTo: ({ address }, _session, answer) => {
        const code = this.welcome(address);
        answer(code === undefined ? null : refusal(code));
      },
      onData: (stream, session, answer) => void this.read(stream, session, answer),
    });
    this.server.on('error', () => {});
  }

  static async start(): Promise<SmtpSink> {
    const sink = new SmtpSink();
    const listener = sink.server.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    return sink;
  }

  get url(): string {
    return `smtp://127.0.0.1:${(this.server.server.address() as AddressInfo).port}`;
  }

  /** What it has taken for an address. */
  for(address: string): TakenMail[] {
    return this.taken.filter((mail) => mail.to === address);
  }

  /** As it is told to be from now on: who waits for its greeting is cut off, and so are idle connections. */
  become(mode: SinkMode): void {
    this.mode = mode;
    for (const { id, _socket: socket } of this.open()) if (!this.reading.has(id)) socket?.end();
  }

  async stop(): Promise<void> {
    for (const { _socket: socket } of this.open()) socket?.destroy();
    await new Promise<void>((resolve) => this.server.close(resolve));
  }

  private async read(
    stream: NodeJS.ReadableStream,
    session: SMTPServerSession,
    answer: (error?: Error | null) => void,
  ): Promise<void> {
    this.reading.add(session.id);
    // A client that is killed ends it early.
    const bytes = await buffer(stream).catch(() => undefined);
    if (!bytes) return;
    const mail = await simpleParser(bytes);
    const [to = ''] = session.envelope.rcptTo.map(({ address }) => address);
    const messageId = mail.messageId ?? '';
    this.tries.set(to, [...(this.tries.get(to) ?? []), messageId]);
    if (this.mode === 'drops') {
      for (const { id, _socket: socket } of this.open()) if (id === session.id) socket?.destroy();
      return;
    }
    if (this.holds(to)) return;
    this.taken.push({
      to,
      from: mail.from?.text ?? '',
      messageId,
      subject: mail.subject ?? '',
      text: mail.text ?? '',
      html: mail.html || '',
      headers: mail.headerLines.map(({ key }) => key),
    });
    answer();
    this.reading.delete(session.id);
  }

  private open(): { id: string; _socket?: { destroy(): void; end(): void } }[] {
    return [...(this.server as unknown as { connections: Set<{ id: string }> }).connections];
  }
}

function refusal(code: number): Error {
  return Object.assign(new Error('not now'), { responseCode: code });
}
