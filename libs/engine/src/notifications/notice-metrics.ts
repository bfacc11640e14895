import { Injectable } from '@nestjs/common';
import { Metrics } from '@app/platform/observability/metrics.js';
import { Database } from '@app/platform/prisma/database.js';
import { waitingNotices } from '../store/deliveries.js';

/** Counters and gauges of the notices. */
@Injectable()
export class NoticeMetrics {
  readonly tries;

  constructor(metrics: Metrics, database: Database) {
    this.tries = metrics.counter(
      'longhaul_notices_total',
      'Tries to tell a recipient of the end of a job, by what they came to',
      ['kind', 'result'],
    );
    const oldest = metrics.gauge(
      'longhaul_notices_oldest_seconds',
      'Age of the oldest notice that waits to be sent',
      ['kind'],
    );
    metrics.gauge(
      'longhaul_notices_waiting',
      'Notices that wait to be sent; of kind outbox: ends of jobs that nobody was told of',
      ['kind'],
      async (gauge) => {
        const waiting = await waitingNotices(database.main).catch(() => []);
        gauge.reset();
        oldest.reset();
        for (const { kind, count, oldestSeconds } of waiting) {
          gauge.set({ kind }, count);
          oldest.set({ kind }, oldestSeconds);
        }
      },
    );
  }
}
