import { isFinalJobStatus, type JobStatus } from '@app/core';
import { readJobFeed, readPresent } from '../store/read-feed.js';
import { eventsOf, type LiveEvent } from './live-event.js';
import type { FeedListener, ToldEvent } from './live-feed.js';
import type { LiveSources } from './live-subscription.js';

/** Rows of the ledger that are read at a time. */
const PAGE = 500;
/** Live events that wait while the ledger is told. */
const MOST_WAITING = 20_000;

/** A place in the events of a job: behind an event of a version. */
export interface JobPlace {
  version: number;
  nth: number;
}

/** The place as it stands before an event, `<version>.<nth>`; undefined when it is none. */
export function readJobPlace(text: string): JobPlace | undefined {
  const [, version, nth] = /^(\d{1,9})\.(\d{1,9})$/.exec(text) ?? [];
  return version === undefined ? undefined : { version: Number(version), nth: Number(nth) };
}

/**
 * The events of one job from its first on, or behind a place, until the end of the job. They have the order of the job's
 * versions, which have no gaps of their own, so that any process can go on from any of them, however long ago it was told.
 */
export class JobStream implements FeedListener {
  private waiting: LiveEvent[] | undefined = [];
  private last: JobPlace;
  private status: JobStatus | undefined;
  private closed = false;
  private seq = 0n;
  /** The ledger is to be read again: live events were too many. */
  private again = false;

  /**
   * @param tell gets events, in order; settles when more can be told
   * @param end is called once, after the last event of the job
   */
  constructor(
    readonly ownerId: string,
    private readonly jobId: string,
    after: JobPlace | undefined,
    private readonly sources: LiveSources,
    private readonly tell: (events: ToldEvent[]) => Promise<void>,
    private readonly end: () => void,
  ) {
    this.last = after ?? { version: 0, nth: -1 };
  }

  /** Whether there is nothing to tell any more: the job is over, and all of it was told. */
  async isOver(): Promise<boolean> {
    const { sql } = this.sources;
    const [job] = await readPresent(sql, this.ownerId, [this.jobId]);
    if (!job || !isFinalJobStatus(job.status) || job.version > this.last.version) return false;
    const rows = await readJobFeed(sql, this.ownerId, this.jobId, this.from(), PAGE);
    return eventsOf(rows).every((event) => !this.isNew(event));
  }

  /** Tells the past, then what comes. Settles when the past is told. */
  async open(): Promise<void> {
    const snapshot = await this.sources.feed.attach(this);
    if (snapshot === '') return;
    do {
      this.again = false;
      await this.tellLedger();
    } while (this.again && !this.closed);
    const events = this.waiting ?? [];
    this.waiting = undefined;
    this.pass(events);
    if (this.status === undefined || !isFinalJobStatus(this.status)) return;
    this.finish();
  }

  close(): void {
    this.closed = true;
    this.sources.feed.detach(this);
  }

  deliver(events: ToldEvent[]): void {
    const own = events.filter((event) => event.jobId === this.jobId);
    if (!this.waiting) return this.pass(own);
    if (this.waiting.length + own.length <= MOST_WAITING) this.waiting.push(...own);
    else this.overflow();
  }

  overflow(): void {
    this.again = true;
    if (this.waiting) this.waiting = [];
    else {
      // All of it is in the ledger.
      this.waiting = [];
      void this.reread();
    }
  }

  private async reread(): Promise<void> {
    await this.tellLedger().catch(() => this.finish());
    const events = this.waiting ?? [];
    this.waiting = undefined;
    this.pass(events);
  }

  private async tellLedger(): Promise<void> {
    for (;;) {
      const rows = await readJobFeed(this.sources.sql, this.ownerId, this.jobId, this.from(), PAGE);
      // The rows of the last version may not all be there, where the page is full.
      const cut = rows.length === PAGE ? rows.at(-1)?.version : undefined;
      const whole = rows.filter((row) => row.version !== cut || row.version === rows[0]?.version);
      const events = eventsOf(whole).filter((event) => this.isNew(event));
      this.seq = whole.at(-1)?.seq ?? this.seq;
      if (events.length > 0) await this.told(events);
      if (rows.length < PAGE || this.closed) return;
    }
  }

  private pass(events: LiveEvent[]): void {
    const fresh = events.filter((event) => this.isNew(event));
    if (fresh.length === 0 || this.closed) return;
    void this.told(fresh);
    if (this.status !== undefined && isFinalJobStatus(this.status)) this.finish();
  }

  private told(events: LiveEvent[]): Promise<void> {
    for (const event of events) {
      this.last = { version: event.version, nth: event.place.nth };
      if (event.event === 'job-update') this.status = event.data.status;
    }
    return this.tell(events.map((event) => ({ ...event, id: `${event.version}.${event.place.nth}` })));
  }

  private finish(): void {
    if (this.closed) return;
    this.close();
    this.end();
  }

  private from(): { version: number; seq: bigint } {
    return { version: this.last.version - 1, seq: this.seq };
  }

  private isNew({ version, place }: LiveEvent): boolean {
    return version > this.last.version || (version === this.last.version && place.nth > this.last.nth);
  }
}
