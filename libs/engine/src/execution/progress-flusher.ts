import { Inject, Injectable } from '@nestjs/common';
import type { Json } from '@app/core';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { isBadData } from '@app/platform/prisma/sql-errors.js';
import { LivePoke } from '../live/live-poke.js';
import { type ProgressMember, reportProgress } from '../store/task-progress.js';

/** At most four statements a second for the whole process, however often handlers report. */
const INTERVAL_MS = 250;

/** Writes the latest progress of each running attempt, for all of them together. */
@Injectable()
export class ProgressFlusher {
  private readonly latest = new Map<string, ProgressMember>();
  private timer: NodeJS.Timeout | undefined;
  private flushing: Promise<void> | undefined;

  constructor(
    private readonly database: Database,
    private readonly live: LivePoke,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Notes how far an attempt is; what was noted before and not yet written is replaced. */
  note(lease: { taskId: string; fence: number }, percent: number, detail: Json | undefined): void {
    const before = this.latest.get(lease.taskId);
    const kept = detail ?? (before?.fence === lease.fence ? before.detail : undefined);
    this.latest.set(lease.taskId, { ...lease, percent, ...(kept === undefined ? {} : { detail: kept }) });
    this.timer ??= setTimeout(() => void this.flush(), INTERVAL_MS);
  }

  /** Writes what an attempt has reported, before it ends without being complete. */
  async flushTask(taskId: string): Promise<void> {
    if (this.latest.has(taskId) || this.flushing) await this.flush();
  }

  /** Forgets what an attempt has reported: its end says it all. */
  forget(taskId: string): void {
    this.latest.delete(taskId);
  }

  private async flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.flushing;
    if (this.latest.size === 0) return;
    const members = [...this.latest.values()];
    this.latest.clear();
    this.flushing = this.write(members).finally(() => (this.flushing = undefined));
    await this.flushing;
  }

  private async write(members: ProgressMember[]): Promise<void> {
    try {
      const busy = await reportProgress(this.database.hot, members);
      this.live.poke();
      for (const member of members) if (busy.has(member.taskId)) this.keep(member);
    } catch (error) {
      // Progress is a value that the next report replaces: nothing is lost but a moment.
      this.logger.warn({ reason: (error as Error).message }, 'progress was not written');
      if (!isBadData(error)) members.forEach((member) => this.keep(member));
    }
  }

  private keep(member: ProgressMember): void {
    if (!this.latest.has(member.taskId)) this.latest.set(member.taskId, member);
    this.timer ??= setTimeout(() => void this.flush(), INTERVAL_MS);
  }

  /** Writes what is left and stops the timer. */
  async stop(): Promise<void> {
    await this.flush();
    clearTimeout(this.timer);
  }
}
