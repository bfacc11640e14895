import { Inject, Injectable } from '@nestjs/common';
import type { AbortReason } from '@app/core';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { EngineMetrics } from '../execution/engine-metrics.js';
import type { RunningTask } from '../execution/running-tasks.js';
import { Batcher } from '../store/batcher.js';
import { noteStops, type StopNote, type StopStage } from '../store/cancel-stops.js';
import { ExitRunner } from '../syncer/exit-runner.js';

const keyOf = (note: StopNote) => `${note.taskId}.${note.generation}.${note.stage}`;

/** Raises the signals of attempts, and keeps the receipts of cancels. */
@Injectable()
export class AttemptAborts {
  private readonly notes: Batcher<StopNote, true>;
  private readonly writing = new Set<Promise<unknown>>();

  constructor(
    database: Database,
    private readonly metrics: EngineMetrics,
    private readonly exits: ExitRunner,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.notes = new Batcher(keyOf, async (notes) => {
      await noteStops(database.main, notes);
      return new Map(notes.map((note) => [keyOf(note), true]));
    });
  }

  /** Asks an attempt to stop; of a cancel it is noted that it was delivered. */
  abort(attempt: RunningTask, reason: AbortReason): void {
    const before = attempt.abortReason;
    attempt.abort(reason);
    if (reason === 'lease-lost' && before !== reason) this.metrics.leaseLosses.inc();
    if (reason !== 'canceled' || before === 'canceled') return;
    this.metrics.canceled.inc();
    this.note(attempt, 'delivered');
  }

  /** Notes in the receipt how the attempt took the cancel. The job is canceled either way. */
  note(attempt: RunningTask, stage: StopStage): void {
    const { taskId, generation } = attempt.task;
    const writing = this.notes
      .add({ taskId, generation, stage })
      // The exit of the job may have waited for this.
      .then(() => this.exits.poke())
      .catch((error: Error) =>
        this.logger.warn({ taskId, reason: error.message }, 'a cancel receipt was not written'),
      )
      .finally(() => this.writing.delete(writing));
    this.writing.add(writing);
  }

  /** Waits until all receipts are written. */
  async settled(): Promise<void> {
    await Promise.all(this.writing);
  }
}
