import { isBadData } from '@app/platform/prisma/sql-errors.js';

interface Waiting<M, R> {
  member: M;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

/** What a batch may hold, and how many may be on their way. */
interface Limit<M> {
  /** The weights of its members are at most that in all; a heavier one goes alone. */
  most: number;
  /** 1 unless told. */
  weightOf?: (member: M) => number;
  /** Batches on their way at once, 1 unless told. More than one only where batches do not lock the same rows. */
  lanes?: number;
}

/**
 * Groups single writes into batches: whatever arrives while a batch is on its way forms the next one, so none waits for
 * a timer. With several lanes a batch takes its share of what there is, so that one is made ready while another is
 * written. No two members of one key are on their way at once: the second waits for the first. When the values of a
 * batch are at fault it is halved until the culprit stands alone.
 */
export class Batcher<M, R> {
  private waiting: Waiting<M, R>[] = [];
  private readonly sent = new Set<string>();
  private lanes = 0;

  /**
   * @param flush writes a batch and answers each member by its key
   */
  constructor(
    private readonly keyOf: (member: M) => string,
    private readonly flush: (members: M[]) => Promise<Map<string, R>>,
    private readonly limit: Limit<M> = { most: 200 },
  ) {}

  /** Resolves with the member's own answer, after the commit of its batch. */
  add(member: M): Promise<R> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ member, resolve, reject });
      if (this.lanes === (this.limit.lanes ?? 1)) return;
      this.lanes++;
      // Not at once: what else arrives in this turn of the event loop goes along.
      setImmediate(() => void this.run());
    });
  }

  private async run(): Promise<void> {
    for (let batch = this.take(); batch.length > 0; batch = this.take()) {
      await this.send(batch);
      for (const { member } of batch) this.sent.delete(this.keyOf(member));
    }
    this.lanes--;
  }

  private take(): Waiting<M, R>[] {
    const { most, weightOf = () => 1, lanes = 1 } = this.limit;
    const share = Math.ceil((this.waiting.length + this.sent.size) / lanes);
    const batch: Waiting<M, R>[] = [];
    const later: Waiting<M, R>[] = [];
    let weight = 0;
    for (const item of this.waiting) {
      const key = this.keyOf(item.member);
      const more = weight + weightOf(item.member);
      const fits = batch.length === 0 || (more <= most && batch.length < share);
      if (fits && !this.sent.has(key)) {
        batch.push(item);
        this.sent.add(key);
        weight = more;
      } else later.push(item);
    }
    this.waiting = later;
    return batch;
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
