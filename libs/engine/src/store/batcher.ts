import { isBadData } from '@app/platform/prisma/sql-errors.js';

interface Waiting<M, R> {
  member: M;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

/**
 * Groups single writes into batches: whatever arrives while a batch is on its way forms the next one, so there is
 * one batch in flight at most, and none waits for a timer. A batch never holds two members of one key: the second
 * goes with the next. When the values of a batch are at fault it is halved until the culprit stands alone.
 */
export class Batcher<M, R> {
  private waiting: Waiting<M, R>[] = [];
  private running = false;

  /**
   * @param flush writes a batch and answers each member by its key
   * @param limit what a batch may hold: the weights of its members, 1 unless told, up to `most`
   */
  constructor(
    private readonly keyOf: (member: M) => string,
    private readonly flush: (members: M[]) => Promise<Map<string, R>>,
    private readonly limit: { most: number; weightOf?: (member: M) => number } = { most: 200 },
  ) {}

  /** Resolves with the member's own answer, after the commit of its batch. */
  add(member: M): Promise<R> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ member, resolve, reject });
      if (this.running) return;
      this.running = true;
      // Not at once: what else arrives in this turn of the event loop goes along.
      setImmediate(() => void this.run());
    });
  }

  private async run(): Promise<void> {
    while (this.waiting.length > 0) await this.send(this.take());
    this.running = false;
  }

  private take(): Waiting<M, R>[] {
    const { most, weightOf = () => 1 } = this.limit;
    const batch = new Map<string, Waiting<M, R>>();
    const later: Waiting<M, R>[] = [];
    let weight = 0;
    for (const item of this.waiting) {
      const key = this.keyOf(item.member);
      const more = weight + weightOf(item.member);
      if ((batch.size === 0 || more <= most) && !batch.has(key)) {
        batch.set(key, item);
        weight = more;
      } else later.push(item);
    }
    this.waiting = later;
    return [...batch.values()];
  }

  private async send(batch: Waiting<M, R>[]): Promise<void> {
    try {
      const results = await this.flush(batch.map((item) => item.member));
      for (const item of batch) {
        const key = this.keyOf(item.member);
        const result = results.get(key);
        if (result === undefined) item.reject(new Error(`A batch gave no answer for ${key}.`));
        else item.resolve(result);
      }
    } catch (error) {
      if (batch.length > 1 && isBadData(error)) {
        const half = Math.ceil(batch.length / 2);
        await this.send(batch.slice(0, half));
        await this.send(batch.slice(half));
      } else {
        for (const item of batch) item.reject(error);
      }
    }
  }
}
