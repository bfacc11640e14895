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
/** Events that are told together to who comes back, or has waited. */
const PAGE = 200;
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
  private readonly told = new Map<string, { seen: SeenTransactions; look: number }>();
  private work: Promise<unknown> = Promise.resolve();
  private closed = false;

  /**
   * @param tell gets what is to be told, in order; settles when there is room for more of what can wait
   * @param fail is called when nothing more will be told, for a reason that is ours
   */
  constructor(
    readonly ownerId: string,
    filter: LiveFilter,
    private readonly sources: LiveSources,
    private readonly tell: (messages: LiveMessage[]) => Promise<void>,
    private readonly fail: (error: Error) => void,
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
      const seen = seenBy(snapshot);
      const range = { from: seen, to: seen, marks: seen };
      const id = cursorHead(await this.sources.key.get(), 'feed', range, Date.now());
      if (!this.closed) void this.tell([{ event: 'subscribed', id, data: this.filter }]);
      return unknown;
    });
  }

  /** From now on only these. The present state of the jobs is told first. Answers which of them are not there. */
  change(filter: LiveFilter): Promise<string[]> {
    return this.first(async () => {
      this.filter = filter;
      const unknown = await this.tellPresent();
      void this.tell([{ event: 'subscribed', id: await this.cursor(), data: filter }]);
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
    if (!this.waiting) void this.pass(delivered);
    else if (this.waiting.length + delivered.length > MOST_WAITING) this.overflow();
    else this.waiting.push(...delivered);
  }

  overflow(): void {
    this.tooMany = true;
    if (this.waiting) this.waiting = [];
    else this.first(async () => {}).catch((error: Error) => this.fail(error));
  }

  /** Holds events back while something is told before them. One after the other. */
  private first<T>(run: () => Promise<T>): Promise<T> {
    const done = this.work.then(async () => {
      this.waiting ??= [];
      const result = await run();
      await this.tellWaiting();
      return result;
    });
    this.work = done.catch(() => {});
    return done;
  }

  private async tellWaiting(): Promise<void> {
    while (this.waiting && !this.closed) {
      if (this.tooMany) {
        this.tooMany = false;
        this.waiting = [];
        await this.tellSnapshot('too-much-happened');
      } else if (this.waiting.length > 0) await this.pass(this.waiting.splice(0, PAGE));
      else this.waiting = undefined;
    }
    // What a later look than that of the present state has delivered has been told by now.
    const { told } = this.sources.feed.progress;
    for (const [jobId, { look }] of this.told) if (look < told) this.told.delete(jobId);
  }

  private async pass(events: ToldEvent[]): Promise<void> {
    const wanted = events.filter((event) => this.wants(event));
    if (wanted.length > 0 && !this.closed) await this.tell(wanted);
  }

  private wants({ jobId, type, xid }: ToldEvent): boolean {
    const { jobIds, types } = this.filter;
    const all = jobIds.length === 0 && types.length === 0;
    const told = this.told.get(jobId);
    return (all || jobIds.includes(jobId) || types.includes(type)) && !(told && isSeen(told.seen, xid));
  }

  /** Behind all that was told; empty while something waits, which the place of the feed is behind. */
  private async cursor(): Promise<string> {
    return this.waiting?.length ? '' : this.sources.feed.cursor();
  }

  private async tellPresent(): Promise<string[]> {
    const jobs = await this.present();
    void this.tell(jobs.map((job) => ({ event: 'job-update', data: presentUpdate(job) })));
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
    const look = this.sources.feed.progress.begun;
    for (const { jobId } of jobs) this.told.set(jobId, { seen, look });
    return jobs;
  }

  /** Tells what has happened since a cursor and before the feed delivers. */
  private async catchUp(after: string, snapshot: string): Promise<string[]> {
    const cursor = readCursor(await this.sources.key.get(), 'feed', after);
    // Of a database that was restored to an earlier moment.
    if (!cursor || cursor.to.below > seenBy(snapshot).below) return this.tellSnapshot('unknown-cursor');
    if (Date.now() - cursor.at > LONGEST_AWAY_MS) return this.tellSnapshot('away-too-long');
    const missed = await this.missed(cursor, snapshot);
    if (!missed) return this.tellSnapshot('too-much-happened');
    while (missed.length > 0 && !this.closed) await this.pass(missed.splice(0, PAGE));
    const { jobIds } = this.filter;
    const present = await readPresent(this.sources.sql, this.ownerId, jobIds);
    const known = new Set(present.jobs.map((job) => job.jobId));
    return jobIds.filter((jobId) => !known.has(jobId));
  }

  private async missed(cursor: LiveCursor, snapshot: string): Promise<ToldEvent[] | undefined> {
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
    // No further than where the feed begins: cursors behind what it delivers name no look that is part of this one.
    const { rows } = await readFeed(sql, { ...asked, after: to, marksAfter, upTo: snapshot });
    const later = await readFeed(sql, { ...asked, after: snapshot, marksAfter: snapshot });
    if (!look.rows || !rows || !later.rows) return undefined;
    const moved = new Set(later.rows.map(({ jobId }) => jobId));
    const rest = eventsOf(look.rows).filter(
      (event) => place && event.place && comparePlaces(event.place, place) > 0,
    );
    const range = { from: cursor.to, to: seenBy(snapshot), marks: cursor.marks };
    // Some of the progress may have been told before: it is what there is, and no event. Of a job that has gone on since, it is
    // that of now, and the feed tells it behind what has happened.
    const since = eventsOf(rows)
      .filter(({ place: own, jobId }) => own || !moved.has(jobId))
      .map((event) => (event.place ? event : presentProgress(event)));
    return [...toldOf(rest, cursor, signed, 'feed', cursor.at), ...toldOf(since, range, signed, 'feed')];
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
      ? { jobs: [], snapshot: '' }
      : await readOpen(this.sources.sql, this.ownerId, wanted, MOST_PRESENT + 1);
    // Those that are told, and as they were read for that.
    const rest = open.jobs.slice(0, MOST_PRESENT).filter(({ jobId }) => !known.has(jobId));
    if (rest.length > 0) this.noted({ ...open, jobs: rest });
    const jobs = [...named, ...rest].map(presentUpdate);
    const data = { reason, jobs, complete: open.jobs.length <= MOST_PRESENT };
    void this.tell([{ event: 'snapshot', id: await this.cursor(), data }]);
    return jobIds.filter((jobId) => !known.has(jobId));
  }
}

function presentProgress(event: LiveEvent): LiveEvent {
  return event.event === 'job-update' ? { ...event, data: { ...event.data, present: true } } : event;
}

function presentUpdate(job: PresentJob): JobUpdate {
  return { ...job, present: true };
}
