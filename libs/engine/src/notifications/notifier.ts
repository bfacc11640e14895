import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { hiderOf } from '@app/platform/config/log-rules.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Outbound } from '@app/platform/outbound/outbound.js';
import { Database } from '@app/platform/prisma/database.js';
import { Rest } from '../execution/rest.js';
import { noticesToDo } from '../store/deliveries.js';
import { expandOutbox } from '../store/outbox.js';
import type { Channel } from './channel.js';
import { DeliveryLane } from './delivery-lane.js';
import { MailChannel } from './mail-channel.js';
import { NoticeMetrics } from './notice-metrics.js';
import { WebhookChannel } from './webhook-channel.js';

/** Ends that are expanded in one transaction. */
const BATCH = 100;
/** SWEEP_INTERVALs between two looks where nothing tells of more, and milliseconds between two in any case. */
const PAUSE = { most: 2, leastMs: 20 };

/**
 * Tells of jobs that have ended: makes a delivery for each recipient of what stands in the outbox, and sends them. All of
 * it is claimed in Postgres, so any number of processes do this side by side, and no job ever waits for it.
 */
@Injectable()
export class Notifier {
  private readonly lanes: DeliveryLane[];
  private working: Promise<void> | undefined;
  private readonly pauseMs: number;
  private stopped = false;
  private readonly rest = new Rest();

  constructor(
    private readonly database: Database,
    private readonly metrics: NoticeMetrics,
    outbound: Outbound,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.pauseMs = config.SWEEP_INTERVAL * PAUSE.most;
    const channels: Channel[] = [new WebhookChannel(outbound, database)];
    if (config.SMTP_URL !== undefined) channels.push(new MailChannel(config, database));
    const options = {
      leaseMs: config.LEASE,
      retryMs: config.NOTICE_RETRY,
      hide: hiderOf(config),
      tried: (kind: string, result: string) => this.metrics.tries.inc({ kind, result }),
      room: () => this.rest.wake(),
    };
    this.lanes = channels.map((channel) => new DeliveryLane(channel, database, logger, options));
  }

  start(): void {
    this.working ??= this.work();
  }

  /** No try begins any more; those under way may come to their end, and are given up after the grace. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.rest.wake();
    await this.working;
    await Promise.all(this.lanes.map((lane) => lane.stop(this.config.SHUTDOWN_GRACE)));
  }

  private async work(): Promise<void> {
    while (!this.stopped) {
      const pause = await this.look().catch((error: Error) => {
        this.logger.warn({ reason: error.message }, 'notices were not looked for');
        return this.pauseMs;
      });
      await this.rest.take(Math.min(Math.max(pause, PAUSE.leastMs), this.pauseMs));
    }
  }

  /** One look; answers how long nothing is expected. Where nothing is to be done it is one question. */
  private async look(): Promise<number> {
    const { main } = this.database;
    const { MAIL_RATE, MAIL_WINDOW } = this.config;
    const { ends, untilNextMs } = await noticesToDo(main);
    const taken = ends ? await expandOutbox(main, BATCH, { rate: MAIL_RATE, windowMs: MAIL_WINDOW }) : 0;
    if (taken === 0 && (untilNextMs ?? Infinity) > 0) return untilNextMs ?? this.pauseMs;
    for (const lane of this.lanes) await lane.look();
    return taken === BATCH ? 0 : this.pauseMs;
  }
}
