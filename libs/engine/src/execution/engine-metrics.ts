import { Injectable } from '@nestjs/common';
import { Metrics } from '@app/platform/observability/metrics.js';
import { Database } from '@app/platform/prisma/database.js';
import { raceCount } from '../store/in-transaction.js';
import { queueDepths, sweepLag } from '../store/queue-depths.js';

/** Counters and gauges of the engine; each name says which part it is about. */
@Injectable()
export class EngineMetrics {
  readonly claims;
  readonly finishes;
  readonly redelivered;
  readonly leaseLosses;
  readonly leasesExpired;
  readonly canceled;
  readonly fenced;
  readonly sent;
  readonly recalled;
  readonly catalogAnswers;
  readonly circuit;
  readonly exits;
  readonly running;
  readonly sandboxes;
  readonly loneDeaths;

  constructor(metrics: Metrics, database: Database) {
    this.claims = metrics.counter('longhaul_claims_total', 'Deliveries by what their claim answered', [
      'result',
    ]);
    this.finishes = metrics.counter(
      'longhaul_finishes_total',
      'Ends of attempts by what their write answered',
      ['status', 'result'],
    );
    this.redelivered = metrics.counter(
      'longhaul_redelivered_total',
      'Claims of tasks that were claimed before',
    );
    this.leaseLosses = metrics.counter(
      'longhaul_lease_losses_total',
      'Attempts that were stopped for want of a lease',
    );
    this.leasesExpired = metrics.counter(
      'longhaul_leases_expired_total',
      'Ended leases that this sweeper has judged',
    );
    this.canceled = metrics.counter(
      'longhaul_cancels_delivered_total',
      'Attempts whose signal was raised by a cancel',
    );
    this.fenced = metrics.counter(
      'longhaul_unstoppable_total',
      'Attempts judged without their handler, which ran on',
    );
    this.sent = metrics.counter('longhaul_sent_total', 'Messages given to BullMQ', ['by']);
    this.recalled = metrics.counter(
      'longhaul_recalled_total',
      'Tasks sent again because Redis was another one',
    );
    this.catalogAnswers = metrics.counter('longhaul_catalog_answers_total', 'Answers of the Catalog', [
      'answer',
    ]);
    this.circuit = metrics.gauge(
      'longhaul_catalog_circuit',
      'The circuit of the Catalog: 0 closed, 1 half-open, 2 open',
    );
    this.exits = metrics.counter('longhaul_exits_total', 'Exit hooks that were run, by how they ended', [
      'result',
    ]);
    this.running = metrics.gauge('longhaul_running_tasks', 'Handlers that run in this process');
    this.sandboxes = metrics.gauge('longhaul_sandboxes', 'Processes that run one task each');
    this.loneDeaths = metrics.counter(
      'longhaul_lone_deaths_total',
      'Processes that died while they ran a task alone',
    );
    const races = metrics.counter(
      'longhaul_races_retried_total',
      'Transactions repeated after a deadlock or race',
    );
    metrics.gauge('longhaul_sweep_lag_seconds', 'How late the look at due work is', [], async (gauge) => {
      races.inc(raceCount.take());
      gauge.set(await sweepLag(database.main).catch(() => Number.NaN));
    });
    const oldest = metrics.gauge('longhaul_queue_oldest_seconds', 'Age of the oldest waiting task', [
      'queue',
    ]);
    metrics.gauge('longhaul_queue_tasks', 'Open tasks by queue', ['queue', 'state'], async (gauge) => {
      const depths = await queueDepths(database.main).catch(() => []);
      gauge.reset();
      oldest.reset();
      for (const { queue, waiting, active, oldestSeconds } of depths) {
        gauge.set({ queue, state: 'waiting' }, waiting);
        gauge.set({ queue, state: 'active' }, active);
        oldest.set({ queue }, oldestSeconds);
      }
    });
  }
}
