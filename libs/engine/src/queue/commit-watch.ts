import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Database } from '@app/platform/prisma/database.js';
import { findCommitted } from '../store/committed-tasks.js';
import { TaskSender } from './task-sender.js';

/** Pauses before each look, in milliseconds. When they are over, the sweeper has begun to look for the job. */
const PAUSES = [5, 10, 20, 40, 80, 160, 320, 640, 1280];
/** Jobs that are watched at a time; those beyond are left to the sweeper. */
const MOST = 100;

/**
 * Looks for jobs that were written in a transaction of the caller, of whose commit nobody tells, and sends their tasks
 * as soon as they are committed.
 */
@Injectable()
export class CommitWatch implements OnModuleDestroy {
  private watched = 0;
  private readonly over = new AbortController();

  constructor(
    private readonly database: Database,
    private readonly sender: TaskSender,
  ) {}

  onModuleDestroy(): void {
    this.over.abort();
  }

  /** Watches a job for a while, in the background. */
  watch(jobId: string): void {
    if (this.watched >= MOST) return;
    this.watched++;
    // A look that fails is no loss: the sweeper looks too.
    void this.look(jobId)
      .catch(() => {})
      .finally(() => this.watched--);
  }

  private async look(jobId: string): Promise<void> {
    for (const pause of PAUSES) {
      await delay(pause, undefined, { signal: this.over.signal, ref: false });
      const deliveries = await findCommitted(this.database.main, jobId);
      if (deliveries) return this.sender.sendSoon(deliveries);
    }
  }
}
