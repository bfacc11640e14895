/** A message of the Postgres protocol: its letter (empty for the nameless first one) and its body. */
interface Frame {
  type: string;
  body: Buffer;
}

/** Cuts a stream of bytes into messages of the Postgres protocol. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  /** @param nameless whether the first message has no letter, as that of a client */
  constructor(private nameless: boolean) {}

  /** The messages that are complete with these bytes. */
  read(bytes: Buffer): Frame[] {
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const frames: Frame[] = [];
    for (;;) {
      const head = this.nameless ? 0 : 1;
      if (this.rest.length < head + 4) return frames;
      const length = this.rest.readInt32BE(head);
      if (this.rest.length < head + length) return frames;
      const type = head === 0 ? '' : String.fromCharCode(this.rest[0] ?? 0);
      frames.push({ type, body: this.rest.subarray(head + 4, head + length) });
      this.rest = this.rest.subarray(head + length);
      this.nameless = false;
    }
  }
}

/** Knows what the messages of one client execute: a statement is prepared once, under a name or none, and bound often. */
export class Statements {
  private readonly prepared = new Map<string, string>();

  /** The SQL that a Query or Bind message executes; undefined for any other. */
  executed({ type, body }: Frame): string | undefined {
    if (type === 'Q') return body.subarray(0, -1).toString();
    const [first = '', second = ''] = body.toString('latin1').split('\0', 2);
    if (type === 'P') {
      const start = Buffer.byteLength(first, 'latin1') + 1;
      this.prepared.set(first, body.subarray(start, body.indexOf(0, start)).toString());
    }
    // The first word of a Bind message is the portal.
    return type === 'B' ? this.prepared.get(second) : undefined;
  }
}

/**
 * Follows one connection and tells when the reply to a commit is to be swallowed: the server does what it was asked,
 * and the client never learns. A statement within a transaction is only marked; its COMMIT is what loses its reply.
 */
export class CommitWatch {
  private readonly client = new FrameReader(true);
  private readonly server = new FrameReader(false);
  private readonly statements = new Statements();
  private inTransaction = false;
  private marked = false;
  private swallowing = false;

  /** @param wanted whether the commit of this statement is to lose its reply; asked once for each */
  constructor(private readonly wanted: (sql: string) => boolean) {}

  /** To be told all that the client sends. */
  sent(bytes: Buffer): void {
    for (const frame of this.client.read(bytes)) {
      const sql = this.statements.executed(frame);
      if (sql === undefined || this.swallowing) continue;
      if (/^\s*commit\b/i.test(sql)) this.swallowing = this.marked || this.wanted('COMMIT');
      else if (this.wanted(sql)) {
        if (this.inTransaction) this.marked = true;
        else this.swallowing = true;
      }
    }
  }

  /** What is to become of bytes of the server: passed on, kept from the client, or kept and the connection cut. */
  received(bytes: Buffer): 'pass' | 'swallow' | 'cut' {
    let done = false;
    for (const { type, body } of this.server.read(bytes)) {
      if (type !== 'Z') continue;
      const status = String.fromCharCode(body[0] ?? 0);
      this.inTransaction = status === 'T';
      if (!this.inTransaction && !this.swallowing) this.marked = false;
      done = true;
    }
    if (!this.swallowing) return 'pass';
    return done ? 'cut' : 'swallow';
  }
}
