import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { CancelBus } from '../cancellation/cancel-bus.js';
import { EngineHealth } from '../execution/engine-health.js';
import { Rest } from '../execution/rest.js';
import { TaskSender } from '../queue/task-sender.js';
import { Sweeper } from '../queue/sweeper.js';
import { LivePoke } from '../live/live-poke.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { findDue, nextSlotDue, type TickScope } from '../store/due-schedules.js';
import { noteLateStarts } from '../store/late-starts.js';
import { deleteOldSlots } from '../store/slot-ledger.js';
import { type Tick, tickSchedules } from '../store/tick-schedules.js';
import { DeclaredCrons } from './declared-crons.js';
import { ScheduleMetrics } from './schedule-metrics.js';
import { SchedulePoke } from './schedule-poke.js';
import { SlotJobs } from './slot-jobs.js';

/** Schedules in one transaction. */
const AT_ONCE = 100;
const LONGEST_SLEEP_MS = 1000;
const LEAST_PAUSE_MS = 10;
/** Pokes closer together than this become one: jobs may end all the time. */
const APART_MS = 50;
/**
 * How long a schedule is left alone whose turn has failed, so that it does not hold up the others: twice as long each
 * time, for many of them may fail, and each costs a transaction.
 */
const ASIDE_MS = { first: 5000, longest: 60_000 };
const FORGET_EVERY_MS = 60_000;
const FORGET_AT_ONCE = 5000;

/**
 * Fires the slots of schedules when they are due. Any number of processes do so side by side: each takes what no other
 * one has in hand, and Postgres says what time it is.
 */
@Injectable()
export class Ticker {
  private stopped = false;
  private loop: Promise<void> | undefined;
  private readonly rest = new Rest();
  private pokeTimer: NodeJS.Timeout | undefined;
  private quietUntil = 0;
  /** Whether a slot waited for a job to end when this was last asked. */
  private slotsWait = false;
  /** Until when schedules are left alone, by `performance.now()`, and for how long that is. */
  private readonly aside = new Map<string, { until: number; ms: number }>();
  private forgetAt = 0;

  constructor(
    private readonly database: Database,
    private readonly jobs: SlotJobs,
    private readonly types: JobTypeRegistry,
    private readonly declared: DeclaredCrons,
    private readonly pokes: SchedulePoke,
    private readonly sender: TaskSender,
    private readonly sweeper: Sweeper,
    private readonly bus: CancelBus,
    private readonly live: LivePoke,
    private readonly health: EngineHealth,
    private readonly metrics: ScheduleMetrics,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async start(): Promise<void> {
    await this.declared.read();
    this.loop = this.run();
    await this.pokes.listen({
      changed: () => this.poke(),
      // Jobs end all the time; only where a slot waits for one is there anything to look for.
      ended: () => this.slotsWait && this.poke(),
    });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.pokeTimer);
    this.health.retire('ticker');
    this.rest.wake();
    await this.loop;
  }

  private poke(): void {
    if (this.pokeTimer) return;
    const wait = this.quietUntil - performance.now();
    if (wait <= 0) this.look();
    else this.pokeTimer = setTimeout(() => this.look(), wait);
  }

  private look(): void {
    clearTimeout(this.pokeTimer);
    this.pokeTimer = undefined;
    this.quietUntil = performance.now() + APART_MS;
    this.rest.wake();
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      this.health.sign('ticker');
      const pause = await this.tick().catch((error: Error) => {
        this.logger.warn({ reason: error.message }, 'a tick of the schedules failed');
        return LONGEST_SLEEP_MS;
      });
      if (pause > 0) await this.rest.take(pause);
    }
  }

  /** One tick. Answers in how many milliseconds there may be more to do. */
  private async tick(): Promise<number> {
    await this.declared.sync();
    const now = performance.now();
    const except = this.leftAlone(now);
    // Asked before a transaction is begun: most of the time nothing is due, and what is due began before the transaction.
    const next = await nextSlotDue(this.database.main, this.types.names, except, LONGEST_SLEEP_MS);
    this.slotsWait = next.slotsWait;
    const looked = next.ms <= 0 || next.slotsWait ? await this.fire({ limit: AT_ONCE, except }) : 0;
    const late = await this.tellLate();
    await this.forget(now);
    // What is due and locked by others must not make this one spin.
    return looked > 0 || late >= AT_ONCE ? 0 : Math.max(LEAST_PAUSE_MS, next.ms);
  }

  /** What spoils the turn of all is found by giving each a turn of its own. */
  private async fire(scope: TickScope): Promise<number> {
    try {
      return await this.fireTogether(scope);
    } catch (error) {
      const ids = await findDue(this.database.main, this.types.names, scope);
      if (ids.length === 0) throw error;
      for (const id of ids) {
        if (this.stopped) break;
        this.health.sign('ticker');
        await this.fireTogether({ limit: 1, only: [id] }).catch((reason: Error) => {
          this.putAside(id);
          this.logger.error({ scheduleId: id, reason: reason.message }, 'a schedule was not fired');
        });
      }
      return 0;
    }
  }

  private leftAlone(now: number): string[] {
    for (const [id, { until }] of this.aside) if (until + ASIDE_MS.longest < now) this.aside.delete(id);
    return [...this.aside].filter(([, { until }]) => until > now).map(([id]) => id);
  }

  private putAside(scheduleId: string): void {
    const before = this.aside.get(scheduleId)?.ms;
    const ms = before === undefined ? ASIDE_MS.first : Math.min(ASIDE_MS.longest, 2 * before);
    this.aside.set(scheduleId, { until: performance.now() + ms, ms });
  }

  private async fireTogether(scope: TickScope): Promise<number> {
    const tick = await tickSchedules(
      this.database.main,
      {
        types: this.types.names,
        incarnation: this.sender.incarnation,
        most: { jobs: this.config.MAX_OPEN_JOBS, tasks: this.config.MAX_OPEN_TASKS },
        prepare: (firing) => this.jobs.tryMake(firing),
      },
      scope,
    );
    this.tell(tick);
    return tick.looked;
  }

  private tell({ outcomes, lateness, canceled }: Tick): void {
    for (const { outcome, count } of outcomes) this.metrics.slots.inc({ outcome }, count);
    for (const ms of lateness) this.metrics.lateness.observe(ms / 1000);
    for (const job of canceled) void this.bus.publish(job);
    // Their tasks are held, and wait to be admitted.
    const fired = outcomes.some(({ outcome }) => outcome === 'fired' || outcome === 'dst-gap');
    if (fired) this.sweeper.poke();
    if (fired || canceled.length > 0) this.live.poke();
  }

  private async tellLate(): Promise<number> {
    const { looked, late } = await noteLateStarts(this.database.main, AT_ONCE);
    for (const one of late) this.logger.warn({ ...one }, 'a job of a schedule has not begun in time');
    if (late.length > 0) {
      this.metrics.slots.inc({ outcome: 'late' }, late.length);
      this.live.poke();
    }
    return looked;
  }

  private async forget(now: number): Promise<void> {
    if (now < this.forgetAt) return;
    const deleted = await deleteOldSlots(this.database.main, this.config.RETENTION, FORGET_AT_ONCE);
    if (deleted < FORGET_AT_ONCE) this.forgetAt = now + FORGET_EVERY_MS;
  }
}
