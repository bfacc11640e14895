import type { Logger } from '@app/platform/observability/logger.js';
import type { Database } from '@app/platform/prisma/database.js';
import { isOutage } from '@app/platform/prisma/sql-errors.js';
import { inTime } from '../execution/in-time.js';
import { outagePause } from '../execution/outage-pause.js';
import { type DeliveryEnd, type DueDelivery, recordDelivery, renewDeliveries } from '../store/deliveries.js';
import { takeDueDeliveries } from '../store/take-deliveries.js';
import { TRIAL } from '../store/webhook-deliveries.js';
import type { Channel, TryResult } from './channel.js';
import { pauseAfter } from './try-pauses.js';

/** Characters of a reason that are kept. */
const LONGEST_REASON = 500;

/** How a lane does its work. */
export interface LaneOptions {
  leaseMs: number;
  /** What the pauses between tries are multiples of. */
  retryMs: number;
  /** Takes the secrets out of what is stored and logged of an error. */
  hide: (text: string) => string;
  /** Told of each try. */
  tried: (kind: string, result: DeliveryEnd['status']) => void;
  /** Called when there is room again. */
  room: () => void;
}

/**
 * Sends what is due over one channel, in slots of its own: a channel that hangs holds up no other. Each delivery is
 * recorded as soon as it is over.
 */
export class DeliveryLane {
  private readonly running = new Map<DueDelivery, Promise<void>>();
  private readonly stopping = new AbortController();
  private readonly walk = { from: '' };
  private renewal: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly channel: Channel,
    private readonly database: Database,
    private readonly logger: Logger,
    private readonly options: LaneOptions,
  ) {}

  /** Takes as many as there is room for. */
  async look(): Promise<void> {
    const { kind, atOnce, perRecipient, perOwner } = this.channel;
    const limit = atOnce - this.running.size;
    if (limit <= 0 || this.closed) return;
    this.renewal ??= setInterval(() => void this.renew(), this.options.leaseMs / 3).unref();
    const room = { limit, perRecipient, perOwner, busy: [...this.running.keys()], walk: this.walk };
    for (const due of await takeDueDeliveries(this.database.main, kind, room, this.options.leaseMs)) {
      const work = this.turn(due)
        .catch((error: Error) =>
          this.logger.warn({ kind: due.kind, reason: error.message }, 'a notice is left to others'),
        )
        .finally(() => {
          this.running.delete(due);
          this.options.room();
        });
      this.running.set(due, work);
    }
  }

  /**
   * Begins nothing any more. What is on its way after the grace is given up, and tried again, under the same id, by whoever
   * takes it when its turn is over.
   */
  async stop(graceMs: number): Promise<void> {
    this.closed = true;
    const ends = Promise.all(this.running.values());
    await inTime(ends, graceMs, 'a notice hangs').catch(() => {});
    this.stopping.abort();
    await ends;
    clearInterval(this.renewal);
    this.channel.close();
  }

  private async turn(due: DueDelivery): Promise<void> {
    const result = await this.try(due);
    // A try that was cut off by our own stop tells nothing.
    if (this.stopping.signal.aborted && result.status === 'again') return;
    const end = this.endOf(due, result);
    const { kind, jobId } = due;
    if (!(await this.record(due, end))) return;
    this.options.tried(kind, end.status);
    if (end.status === 'failed') {
      // Servers like to repeat the address that they refuse.
      const reason = end.reason?.replaceAll(/\S+@\S+/g, '[address]');
      this.logger.warn({ kind, ...(jobId && { jobId }), code: end.code, reason }, 'a notice has failed');
    } else this.logger.debug({ kind, ...(jobId && { jobId }), state: end.status }, 'a notice was tried');
  }

  private async try(due: DueDelivery): Promise<TryResult> {
    try {
      const { signal } = this.stopping;
      return await untilAborted(this.channel.send(due, signal), signal);
    } catch (error) {
      return { status: 'again', reason: (error as Error).message };
    }
  }

  private endOf({ attempts, event }: DueDelivery, result: TryResult): DeliveryEnd {
    const reason = result.reason && this.options.hide(result.reason).slice(0, LONGEST_REASON);
    const end = { ...result, ...(reason === undefined ? {} : { reason }) };
    if (end.status !== 'again') return end;
    // Who tries a webhook is there to see what comes of it.
    if (event === TRIAL) return { ...end, status: 'failed' };
    const pauseMs = pauseAfter(attempts, this.options.retryMs);
    return pauseMs === undefined ? { ...end, status: 'failed' } : { ...end, pauseMs };
  }

  /** It is written as long as this process lives, or the recipient would be told again for an outage. */
  private async record(due: DueDelivery, end: DeliveryEnd): Promise<boolean> {
    for (const pause = outagePause(); ;) {
      try {
        return await recordDelivery(this.database.main, due, end);
      } catch (error) {
        if (!isOutage(error) || this.stopping.signal.aborted) throw error;
        await pause();
      }
    }
  }

  private async renew(): Promise<void> {
    const turns = [...this.running.keys()];
    if (turns.length === 0) return;
    await renewDeliveries(this.database.main, turns, this.options.leaseMs).catch((error: Error) =>
      this.logger.warn({ reason: error.message }, 'notices were not renewed'),
    );
  }
}

/** Waits for work until the signal; a channel that does not heed it keeps nobody from going. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = () => reject(new Error('given up'));
    if (signal.aborted) give();
    signal.addEventListener('abort', give);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}
