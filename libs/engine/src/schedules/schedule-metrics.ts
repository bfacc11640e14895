import { Injectable } from '@nestjs/common';
import { Metrics } from '@app/platform/observability/metrics.js';
import { Database } from '@app/platform/prisma/database.js';
import { countDueSchedules } from '../store/schedule-queries.js';

/** What is measured of schedules. */
@Injectable()
export class ScheduleMetrics {
  readonly slots;
  readonly lateness;

  constructor(metrics: Metrics, database: Database) {
    this.slots = metrics.counter('longhaul_schedule_slots_total', 'Slots by what became of them', [
      'outcome',
    ]);
    this.lateness = metrics.histogram(
      'longhaul_schedule_lateness_seconds',
      'How long after they were due slots fired',
      [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
    );
    const lag = metrics.gauge('longhaul_schedule_lag_seconds', 'How long the oldest due schedule has waited');
    metrics.gauge(
      'longhaul_schedules_due',
      'Schedules that are due and were not looked at',
      [],
      async (gauge) => {
        const { due, lateSeconds } = await countDueSchedules(database.main).catch(() => ({
          due: Number.NaN,
          lateSeconds: Number.NaN,
        }));
        gauge.set(due);
        lag.set(lateSeconds);
      },
    );
  }
}
