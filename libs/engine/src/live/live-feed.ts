import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { Redis } from '@app/platform/redis/redis.js';
import { Rest } from '../execution/rest.js';
import { type FeedWindow, lookAtTransactions, readFeed } from '../store/read-feed.js';
import { cursorHead, type CursorKind, cursorOf, type LookRange } from './live-cursor.js';
import { eventsOf, type LiveEvent } from './live-event.js';
import { LiveKey } from './live-key.js';
import { LivePoke } from './live-poke.js';
import { seenBy } from './seen-transactions.js';

/** Between two looks, in milliseconds: what is committed meanwhile is read together. */
const APART_MS = 15;
/** Between two looks that nobody has asked for: Redis may have lost the hint, or is away. */
const POLL_MS = { hinted: 1000, alone: 300 };
/** Between two looks at the marks of progress: at most four a second are told of a job. */
const MARKS_MS = 250;
/** After a look that has failed. */
const RETRY_MS = 500;
/** Rows of one look. More, as after an outage of the reader, are told as what there is and not one by one. */
const MOST_ROWS = 20_000;

/** An event with the cursor behind it; empty where it has none, or one that is too long to be handed back. */
export type ToldEvent = LiveEvent & { id: string };

/** Looks, by their numbers. */
interface Looks {
  begun: number;
  told: number;
}

/** Who listens to the events of an owner. */
export interface FeedListener {
  readonly ownerId: string;
  /** Of its owner, in the order in which they happened within each job. Must not wait. */
  deliver(events: ToldEvent[]): void;
  /** There were too many to be told. */
  overflow(): void;
}

/**
 * Reads what is committed, once for all who listen in this process, and nothing while nobody does. A transaction that
 * commits late is told late and never left out; see `readFeed`.
 */
@Injectable()
export class LiveFeed implements OnModuleDestroy {
  private readonly listeners = new Map<string, Set<FeedListener>>();
  private joining: { listener: FeedListener; joined: (snapshot: string) => void }[] = [];
  /** What has been read: events up to the one, marks of progress up to the other. */
  private read: { events: string; marks: string } | undefined;
  private lookedAt = -Infinity;
  private marksAt = -Infinity;
  private looks: Looks = { begun: 0, told: 0 };
  /** Something was committed since the last look, or since the last look at marks. */
  private poked = { events: false, marks: false };
  private failing = false;
  private stopped = false;
  private readonly rest = new Rest();
  private loop: Promise<void> | undefined;

  constructor(
    private readonly database: Database,
    private readonly redis: Redis,
    private readonly hints: LivePoke,
    private readonly key: LiveKey,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Lets somebody listen. Answers what had been read then, as a `pg_snapshot`, and what comes after that is delivered, also
   * before this resolves. The look was begun after the call, so whatever any other process has told before is in it.
   * Empty when the listener has left, or the process stops.
   */
  attach(listener: FeedListener): Promise<string> {
    this.loop ??= this.run();
    return new Promise((joined) => {
      this.joining.push({ listener, joined });
      this.rest.wake();
    });
  }

  detach(listener: FeedListener): void {
    const leaving = this.joining.filter((one) => one.listener === listener);
    this.joining = this.joining.filter((one) => one.listener !== listener);
    for (const { joined } of leaving) joined('');
    const others = this.listeners.get(listener.ownerId);
    others?.delete(listener);
    if (others?.size === 0) this.listeners.delete(listener.ownerId);
  }

  /** How many looks were begun, and of which the events have been delivered: of each that was begun before or with it. */
  get progress(): Readonly<Looks> {
    return this.looks;
  }

  /** The cursor behind all that was delivered. */
  async cursor(): Promise<string> {
    if (!this.read) return '';
    const [to, marks] = [seenBy(this.read.events), seenBy(this.read.marks)];
    return cursorHead(await this.key.get(), 'feed', { from: to, to, marks }, Date.now());
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    this.rest.wake();
    await this.loop;
    for (const { joined } of this.joining.splice(0)) joined('');
  }

  private async run(): Promise<void> {
    void this.hints.listen(() => {
      this.poked = { events: true, marks: true };
      this.rest.wake();
    });
    while (!this.stopped) {
      const pause = this.pause();
      if (pause > 0) await this.rest.take(pause);
      else await this.look();
    }
  }

  /** Milliseconds until the next look. */
  private pause(): number {
    const waits = this.joining.length > 0;
    if (!waits && this.listeners.size === 0) {
      this.read = undefined;
      return Infinity;
    }
    const poll = this.redis.ready ? POLL_MS.hinted : POLL_MS.alone;
    let at = this.lookedAt + (this.failing ? RETRY_MS : poll);
    if (!this.failing && this.poked.events) at = Math.min(at, this.lookedAt + APART_MS);
    if (!this.failing && (waits || this.poked.marks)) at = Math.min(at, this.marksAt + MARKS_MS);
    return at - performance.now();
  }

  private async look(): Promise<void> {
    const now = performance.now();
    const withMarks = now >= this.marksAt + MARKS_MS;
    // Who joins now is told of no mark that another process has told before.
    // A copy: who comes while it is on waits for the next.
    const joining = withMarks ? [...this.joining] : [];
    const before = this.poked;
    const look = ++this.looks.begun;
    this.lookedAt = now;
    this.poked = { events: false, marks: before.marks && !withMarks };
    try {
      const [key, window] = await Promise.all([this.key.get(), this.readWindow(withMarks)]);
      this.tell(window, key, withMarks);
      this.looks.told = look;
      if (withMarks) this.marksAt = now;
      this.failing = false;
      for (const one of joining) this.join(one, window.snapshot);
    } catch (error) {
      if (!this.failing)
        this.logger.warn({ reason: (error as Error).message }, 'the live feed waits for Postgres');
      this.failing = true;
      this.poked = before;
    }
  }

  private async readWindow(withMarks: boolean): Promise<FeedWindow> {
    const sql = this.database.main;
    if (!this.read || this.listeners.size === 0) return { snapshot: await lookAtTransactions(sql), rows: [] };
    return readFeed(sql, {
      owners: [...this.listeners.keys()],
      after: this.read.events,
      ...(withMarks ? { marksAfter: this.read.marks } : {}),
      most: MOST_ROWS,
    });
  }

  private tell({ snapshot, rows }: FeedWindow, key: Buffer, withMarks: boolean): void {
    const before = this.read ?? { events: snapshot, marks: snapshot };
    this.read = { events: snapshot, marks: withMarks || !this.read ? snapshot : before.marks };
    if (!rows) return this.each((listener) => listener.overflow());
    if (rows.length === 0) return;
    const range: LookRange = {
      from: seenBy(before.events),
      to: seenBy(snapshot),
      marks: seenBy(before.marks),
    };
    const told = toldOf(eventsOf(rows), range, key, 'feed');
    const byOwner = new Map<string, ToldEvent[]>();
    for (const event of told) {
      const own = byOwner.get(event.ownerId);
      if (own) own.push(event);
      else byOwner.set(event.ownerId, [event]);
    }
    this.each((listener) => {
      const own = byOwner.get(listener.ownerId);
      if (own) listener.deliver(own);
    });
  }

  /** One who fails must not keep the others from theirs. */
  private each(use: (listener: FeedListener) => void): void {
    for (const listener of [...this.listeners.values()].flatMap((some) => [...some])) {
      try {
        use(listener);
      } catch (error) {
        this.logger.error({ err: error }, 'a listener of the live feed has failed');
      }
    }
  }

  private join(one: (typeof this.joining)[number], snapshot: string): void {
    // It may have left meanwhile.
    if (!this.joining.includes(one)) return;
    this.joining = this.joining.filter((other) => other !== one);
    const { ownerId } = one.listener;
    this.listeners.set(ownerId, (this.listeners.get(ownerId) ?? new Set()).add(one.listener));
    one.joined(snapshot);
  }
}

/** Events with their cursors. */
export function toldOf(
  events: LiveEvent[],
  range: LookRange,
  key: Buffer,
  kind: CursorKind,
  at = Date.now(),
): ToldEvent[] {
  const head = cursorHead(key, kind, range, at);
  return events.map((event) => ({ ...event, id: event.place ? cursorOf(head, event.place) : '' }));
}
