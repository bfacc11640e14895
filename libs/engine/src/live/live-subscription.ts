import type { Sql } from '@app/platform/prisma/database.js';
import { type Present, type PresentJob, readFeed, readOpen, readPresent } from '../store/read-feed.js';
import { cursorHead, type LiveCursor, readCursor } from './live-cursor.js';
import { comparePlaces, eventsOf, type JobUpdate, type LiveEvent } from './live-event.js';
import { type FeedListener, type LiveFeed, type ToldEvent, toldOf } from './live-feed.js';
import type { LiveKey } from './live-key.js';
import { isSeen, seenBy, type SeenTransactions, toSnapshot } from './seen-transactions.js';

/** Marks of progress are kept for so long, and who was away longer gets what there is instead of what has happened. */
export const LONGEST_AWAY_MS = 10 * 60_000;
export const KEEP_MARKS_MS = 15 * 60_000;
/** Rows that are told one by one to who comes back. */
const MOST_MISSED = 10_000;
/** Events that wait while it is caught up. */
const MOST_WAITING = 20_000;
/** Jobs that are told of in a snapshot. */
const MOST_PRESENT = 200;

/** Which events are wanted: of these jobs (ids in lower case), and of jobs of these types. Neither: all of the owner. */
export interface LiveFilter {
  jobIds: string[];
  types: string[];
}

/** Why what has happened cannot be told one by one. */
export type SnapshotReason = 'away-too-long' | 'too-much-happened' | 'unknown-cursor';

/** What a listener is told. An `id` is a cursor. */
export type LiveMessage =
  | ToldEvent
  | { event: 'job-update'; data: JobUpdate }
  | { event: 'subscribed'; id: string; data: LiveFilter }
  | {
      event: 'snapshot';
      id: string;
      /** `complete`: these are all open jobs that are wanted. */
      data: { reason: SnapshotReason; jobs: JobUpdate[]; complete: boolean };
    };

/** What a subscription stands on. */
export interface LiveSources {
  sql: Sql;
  feed: LiveFeed;
  key: LiveKey;
}

/** What somebody hears of an owner's jobs: each event once and in order, or what there is where that cannot be. */
export class LiveSubscription implements FeedListener {
  private filter: LiveFilter;
  /** Events that have come while something else had to be told first. */
  private waiting: ToldEvent[] | undefined = [];
  private tooMany = false;
  /** What had happened to jobs that were told as they are; it is not told again. */
  private readonly told = new Map<string, SeenTransactions>();
  /** What was read beside the feed, which may deliver some of it again. */
  private seen: SeenTransactions | undefined;
  private work: Promise<unknown> = Promise.resolve();
  private closed = false;

  /** @param tell gets what is to be told, in order; must not wait */
  constructor(
    readonly ownerId: string,
    filter: LiveFilter,
    private readonly sources: LiveSources,
    private readonly tell: (messages: LiveMessage[]) => void,
  ) {
    this.filter = filter;
  }

  /** Begins, after a cursor or now. Answers which of the jobs that are wanted are not there. */
  open(after: string | undefined): Promise<string[]> {
    return this.first(async () => {
      const snapshot = await this.sources.feed.attach(this);
      if (snapshot === '') return [];
      const unknown = after === undefined ? await this.tellPresent() : await this.catchUp(after, snapshot);
      // Not where the feed is by now: what has come meanwhile waits to be told.
      const seen = this.seen ?? seenBy(snapshot);
      const range = { from: seen, to: seen, marks: seen };
      const id = cursorHead(await this.sources.key.get(), range, Date.now());
      this.tell([{ event: 'subscribed', id, data: this.filter }]);
      return unknown;
    });
  }

  /** From now on only these. The present state of the jobs is told first. Answers which of them are not there. */
  change(filter: LiveFilter): Promise<string[]> {
    return this.first(async () => {
      this.filter = filter;
      const unknown = await this.tellPresent();
      this.tell([{ event: 'subscribed', id: await this.cursor(), data: filter }]);
      return unknown;
    });
  }

  /** Tells the cursor behind all that was told, so that who hears nothing for long can still come back. */
  async position(): Promise<string | undefined> {
    if (this.waiting || this.closed) return undefined;
    const cursor = await this.sources.feed.cursor();
    return this.waiting || cursor === '' ? undefined : cursor;
  }

  close(): void {
    this.closed = true;
    this.sources.feed.detach(this);
  }

  deliver(delivered: ToldEvent[]): void {
    if (!this.waiting) return this.pass(this.unseen(delivered));
    const events = delivered;
    if (this.waiting.length + events.length > MOST_WAITING) this.overflow();
    else this.waiting.push(...events);
  }

  overflow(): void {
    this.tooMany = true;
    if (this.waiting) this.waiting = [];
    else void this.first(async () => {});
  }

  /** Holds events back while something is told before them. One after the other. */
  private first<T>(run: () => Promise<T>): Promise<T> {
    const done = this.work.then(async () => {
      this.waiting ??= [];
      const result = await run();
      while (this.tooMany && !this.closed) {
        this.tooMany = false;
        this.waiting = [];
        await this.tellSnapshot('too-much-happened');
      }
      const events = this.waiting;
      this.waiting = undefined;
      this.pass(this.unseen(events));
      return result;
    });
    this.work = done.catch(() => {});
    return done;
  }

  private unseen(events: ToldEvent[]): ToldEvent[] {
    const { seen } = this;
    return seen ? events.filter(({ xid }) => !isSeen(seen, xid)) : events;
  }

  private pass(events: ToldEvent[]): void {
    const wanted = events.filter((event) => this.wants(event));
    if (wanted.length > 0 && !this.closed) this.tell(wanted);
  }

  private wants({ jobId, type, xid }: ToldEvent): boolean {
    const { jobIds, types } = this.filter;
    const all = jobIds.length === 0 && types.length === 0;
    const told = this.told.get(jobId);
    return (all || jobIds.includes(jobId) || types.includes(type)) && !(told && isSeen(told, xid));
  }

  /** Behind all that was told; empty while something waits, which the place of the feed is behind. */
  private async cursor(): Promise<string> {
    return this.waiting?.length ? '' : this.sources.feed.cursor();
  }

  private async tellPresent(): Promise<string[]> {
    const jobs = await this.present();
    this.tell(jobs.map((job) => ({ event: 'job-update', data: presentUpdate(job) })));
    const known = new Set(jobs.map((job) => job.jobId));
    return this.filter.jobIds.filter((jobId) => !known.has(jobId));
  }

  /** The jobs that are wanted by their ids, as they are. From here on only what comes after is told of them. */
  private async present(): Promise<PresentJob[]> {
    const { jobIds } = this.filter;
    if (jobIds.length === 0) return [];
    return this.noted(await readPresent(this.sources.sql, this.ownerId, jobIds));
  }

  private noted({ jobs, snapshot }: Present): PresentJob[] {
    const seen = seenBy(snapshot);
    for (const { jobId } of jobs) this.told.set(jobId, seen);
    return jobs;
  }

  /** Tells what has happened since a cursor. What the feed delivers of the same is left out. */
  private async catchUp(after: string, snapshot: string): Promise<string[]> {
    const cursor = readCursor(await this.sources.key.get(), after);
    // Of a database that was restored to an earlier moment.
    if (!cursor || cursor.to.below > seenBy(snapshot).below) return this.tellSnapshot('unknown-cursor');
    if (Date.now() - cursor.at > LONGEST_AWAY_MS) return this.tellSnapshot('away-too-long');
    const missed = await this.missed(cursor);
    if (!missed) return this.tellSnapshot('too-much-happened');
    this.pass(missed);
    const { jobIds } = this.filter;
    const present = await readPresent(this.sources.sql, this.ownerId, jobIds);
    const known = new Set(present.jobs.map((job) => job.jobId));
    return jobIds.filter((jobId) => !known.has(jobId));
  }

  private async missed(cursor: LiveCursor): Promise<ToldEvent[] | undefined> {
    const { sql, key } = this.sources;
    const [asked, signed] = [{ owners: [this.ownerId], most: MOST_MISSED }, await key.get()];
    const { place } = cursor;
    const [from, to, marksAfter] = [cursor.from, cursor.to, cursor.marks].map(toSnapshot) as [
      string,
      string,
      string,
    ];
    // The look of the cursor itself, as it was then: what stood behind its place was not told.
    const look = place ? await readFeed(sql, { ...asked, after: from, upTo: to }) : { rows: [] };
    const { rows, snapshot } = await readFeed(sql, { ...asked, after: to, marksAfter });
    if (!look.rows || !rows) return undefined;
    const rest = eventsOf(look.rows).filter(
      (event) => place && event.place && comparePlaces(event.place, place) > 0,
    );
    this.seen = seenBy(snapshot);
    const range = { from: cursor.to, to: this.seen, marks: cursor.marks };
    // Some of the progress may have been told before: it is what there is, and no event.
    const since = eventsOf(rows).map((event) => (event.place ? event : presentProgress(event)));
    return [...toldOf(rest, cursor, signed, cursor.at), ...toldOf(since, range, signed)];
  }

  /** What there is, in place of what has happened. */
  private async tellSnapshot(reason: SnapshotReason): Promise<string[]> {
    this.told.clear();
    const named = await this.present();
    const known = new Set(named.map((job) => job.jobId));
    const { jobIds, types } = this.filter;
    const onlyNamed = types.length === 0 && jobIds.length > 0;
    const wanted = types.length > 0 ? types : undefined;
    const open = onlyNamed
      ? []
      : this.noted(await readOpen(this.sources.sql, this.ownerId, wanted, MOST_PRESENT + 1));
    const rest = open.slice(0, MOST_PRESENT).filter(({ jobId }) => !known.has(jobId));
    const jobs = [...named, ...rest].map(presentUpdate);
    const data = { reason, jobs, complete: open.length <= MOST_PRESENT };
    this.tell([{ event: 'snapshot', id: await this.cursor(), data }]);
    return jobIds.filter((jobId) => !known.has(jobId));
  }
}

function presentProgress(event: LiveEvent): LiveEvent {
  return event.event === 'job-update' ? { ...event, data: { ...event.data, present: true } } : event;
}

function presentUpdate(job: PresentJob): JobUpdate {
  return { ...job, present: true };
}
