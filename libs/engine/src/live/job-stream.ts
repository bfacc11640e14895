import { isFinalJobStatus, type JobStatus } from '@app/core';
import {
  type FeedRow,
  type JobFeedRow,
  NOTHING_SEEN,
  readFeed,
  readJobFeed,
  readPresent,
} from '../store/read-feed.js';
import { type LiveCursor, readCursor } from './live-cursor.js';
import { comparePlaces, eventsOf, type LiveEvent, progressOfMark } from './live-event.js';
import { type FeedListener, type ToldEvent, toldOf } from './live-feed.js';
import type { LiveSources } from './live-subscription.js';
import { seenBy, toSnapshot } from './seen-transactions.js';

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
    const signed = await key.get();
    // What has come by the feed has a cursor of the feed.
    this.cursor = readCursor(signed, 'job', after) ?? readCursor(signed, 'feed', after);
    if (!this.cursor) return false;
    const { jobs } = await readPresent(sql, this.ownerId, [this.jobId]);
    if (!jobs[0] || !isFinalJobStatus(jobs[0].status)) return false;
    for await (const events of this.past()) if (events.length > 0) return false;
    return true;
  }

  /** Tells the past, then what comes. Settles when the past is told. */
  async open(): Promise<void> {
    const snapshot = await this.sources.feed.attach(this);
    if (snapshot !== '') await this.tellPast(snapshot);
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

  /** What has happened is in the ledger, and the client comes back for it behind the last that it has read. */
  overflow(): void {
    this.finish(new Error('More has happened than can be told.'));
  }

  private async tellPast(upTo: string): Promise<void> {
    for await (const events of this.past(upTo)) {
      if (events.length > 0) await this.told(events);
      if (this.closed) return;
    }
    while (this.waiting?.length && !this.closed) await this.told(this.waiting.splice(0, PAGE));
    this.waiting = undefined;
    this.finishIfOver();
  }

  /** What is in the ledger behind the cursor, and was to be seen at a look. */
  private async *past(upTo?: string): AsyncGenerator<ToldEvent[]> {
    const key = await this.sources.key.get();
    const { cursor } = this;
    const place = cursor?.place;
    if (cursor && place) {
      const [after, to] = [toSnapshot(cursor.from), toSnapshot(cursor.to)];
      for await (const { rows } of this.pages(after, to)) {
        const rest = eventsOf(rows).filter((event) => event.place && comparePlaces(event.place, place) > 0);
        yield toldOf(rest, cursor, key, 'job', cursor.at);
      }
    }
    const from = cursor?.to ?? seenBy(NOTHING_SEEN);
    let last: FeedRow | undefined;
    for await (const { rows, snapshot } of this.pages(toSnapshot(from), upTo)) {
      const to = seenBy(snapshot);
      last = rows.at(-1) ?? last;
      yield toldOf(eventsOf(rows), { from, to, marks: to }, key, 'job');
    }
    // The ledger does not tell how far it is. Of a job that has gone on since, the feed does.
    if (last?.job.status !== 'active' || upTo === undefined || (await this.hasMoved(upTo))) return;
    yield [{ ...progressOfMark(last, true), id: '' }];
  }

  private async hasMoved(since: string): Promise<boolean> {
    const asked = { owners: [this.ownerId], after: since, marksAfter: since, most: MOST_WAITING };
    const { rows } = await readFeed(this.sources.sql, asked);
    return rows?.some(({ jobId }) => jobId === this.jobId) ?? true;
  }

  /** Pages of one look: what is committed meanwhile is in none of them. What one transaction has done is in one. */
  private async *pages(
    after: string,
    upTo: string | undefined,
  ): AsyncGenerator<{ rows: FeedRow[]; snapshot: string }> {
    let look = upTo;
    /** Rows of transactions that have written more; those of several may stand among each other. */
    const held = new Map<bigint, JobFeedRow[]>();
    for (let seq = 0n; ;) {
      const asked = { after, ...(look === undefined ? {} : { upTo: look }), seq, limit: PAGE };
      const { rows, snapshot } = await readJobFeed(this.sources.sql, this.ownerId, this.jobId, asked);
      look ??= snapshot;
      const whole: FeedRow[] = [];
      for (const row of rows) {
        const own = [...(held.get(row.xid) ?? []), row];
        if (row.last) {
          whole.push(...own);
          held.delete(row.xid);
        } else held.set(row.xid, own);
      }
      yield { rows: whole, snapshot: look };
      seq = rows.at(-1)?.seq ?? seq;
      if (rows.length < PAGE) return;
    }
  }

  private pass(events: ToldEvent[]): void {
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
