import { isFinalJobStatus, type JobStatus } from '@app/core';
import { type FeedRow, NOTHING_SEEN, readJobFeed, readPresent } from '../store/read-feed.js';
import { type LiveCursor, readCursor } from './live-cursor.js';
import { comparePlaces, eventsOf, type LiveEvent, progressOfMark } from './live-event.js';
import { type FeedListener, type ToldEvent, toldOf } from './live-feed.js';
import type { LiveSources } from './live-subscription.js';
import { isSeen, seenBy, type SeenTransactions, toSnapshot } from './seen-transactions.js';

/** Rows of the ledger that are read at a time. */
const PAGE = 500;
/** Live events that wait while the ledger is told. */
const MOST_WAITING = 20_000;

/**
 * The events of one job from its first on, or behind one of them, until the end of the job. The ledger is kept as long as the
 * job, so that any process can go on from any event, however long ago it was told.
 */
export class JobStream implements FeedListener {
  private waiting: ToldEvent[] | undefined = [];
  private cursor: LiveCursor | undefined;
  /** What was read of the ledger; the feed may deliver some of it again. */
  private seen: SeenTransactions = seenBy(NOTHING_SEEN);
  private status: JobStatus | undefined;
  private closed = false;

  /**
   * @param tell gets events, in order; settles when more can be told
   * @param end is called once, after the last event of the job
   */
  constructor(
    readonly ownerId: string,
    private readonly jobId: string,
    private readonly sources: LiveSources,
    private readonly tell: (events: ToldEvent[]) => Promise<void>,
    private readonly end: (failure?: Error) => void,
  ) {}

  /** Goes on behind an event; from the first one on where that is unknown. Answers whether there is nothing left to tell. */
  async goOn(after: string): Promise<boolean> {
    const { sql, key } = this.sources;
    this.cursor = readCursor(await key.get(), after);
    if (!this.cursor) return false;
    const { jobs } = await readPresent(sql, this.ownerId, [this.jobId]);
    if (!jobs[0] || !isFinalJobStatus(jobs[0].status)) return false;
    for await (const events of this.past()) if (events.length > 0) return false;
    return true;
  }

  /** Tells the past, then what comes. Settles when the past is told. */
  async open(): Promise<void> {
    if ((await this.sources.feed.attach(this)) === '') return;
    await this.tellPast();
  }

  close(): void {
    this.closed = true;
    this.sources.feed.detach(this);
  }

  deliver(events: ToldEvent[]): void {
    const own = events.filter((event) => event.jobId === this.jobId);
    if (!this.waiting) return this.pass(own);
    if (this.waiting.length + own.length <= MOST_WAITING) this.waiting.push(...own);
    // All of it is in the ledger; who reads so slowly comes back for it.
    else this.finish(new Error('More has happened than was read.'));
  }

  overflow(): void {
    if (this.waiting) return this.finish(new Error('More has happened than can be told.'));
    this.waiting = [];
    const { seen } = this;
    this.cursor = { from: seen, to: seen, marks: seen, at: Date.now() };
    this.tellPast().catch((error: Error) => this.finish(error));
  }

  private async tellPast(): Promise<void> {
    for await (const events of this.past()) {
      if (events.length > 0) await this.told(events);
      if (this.closed) return;
    }
    const events = this.waiting ?? [];
    this.waiting = undefined;
    this.pass(events);
    this.finishIfOver();
  }

  /** What is in the ledger behind the cursor. */
  private async *past(): AsyncGenerator<ToldEvent[]> {
    const key = await this.sources.key.get();
    const { cursor } = this;
    const place = cursor?.place;
    if (cursor && place) {
      const [after, upTo] = [toSnapshot(cursor.from), toSnapshot(cursor.to)];
      for await (const { rows } of this.pages(after, upTo)) {
        const rest = eventsOf(rows).filter((event) => event.place && comparePlaces(event.place, place) > 0);
        yield toldOf(rest, cursor, key);
      }
    }
    const from = cursor?.to ?? seenBy(NOTHING_SEEN);
    let last: FeedRow | undefined;
    for await (const { rows, snapshot } of this.pages(toSnapshot(from), undefined)) {
      this.seen = seenBy(snapshot);
      last = rows.at(-1) ?? last;
      yield toldOf(eventsOf(rows), { from, to: this.seen, marks: this.seen }, key);
    }
    // The ledger does not tell how far it is.
    if (last?.job.status === 'active')
      yield toldOf([progressOfMark(last, true)], { from, to: this.seen, marks: this.seen }, key);
  }

  /** Pages of one look: what is committed meanwhile is in none of them. */
  private async *pages(
    after: string,
    upTo: string | undefined,
  ): AsyncGenerator<{ rows: FeedRow[]; snapshot: string }> {
    let look = upTo;
    for (let seq = 0n; ;) {
      const asked = { after, ...(look === undefined ? {} : { upTo: look }), seq, limit: PAGE };
      const { rows, snapshot } = await readJobFeed(this.sources.sql, this.ownerId, this.jobId, asked);
      look ??= snapshot;
      const full = rows.length === PAGE;
      // What one transaction has done is told together, and its rows may not all be there.
      const cut = full ? rows.at(-1)?.xid : undefined;
      const whole = rows.filter((row) => row.xid !== cut || cut === rows[0]?.xid);
      yield { rows: whole, snapshot: look };
      seq = whole.at(-1)?.seq ?? seq;
      if (!full) return;
    }
  }

  private pass(delivered: ToldEvent[]): void {
    const events = delivered.filter(({ xid }) => !isSeen(this.seen, xid));
    if (events.length === 0 || this.closed) return;
    void this.told(events);
    this.finishIfOver();
  }

  private told(events: ToldEvent[]): Promise<void> {
    const last: LiveEvent | undefined = events.findLast(({ event }) => event === 'job-update');
    if (last?.event === 'job-update') this.status = last.data.status;
    return this.tell(events);
  }

  private finishIfOver(): void {
    if (this.status !== undefined && isFinalJobStatus(this.status)) this.finish();
  }

  private finish(failure?: Error): void {
    if (this.closed) return;
    this.close();
    this.end(failure);
  }
}
