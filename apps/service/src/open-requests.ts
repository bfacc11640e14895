import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';

/** How long running tasks may have to wait for their own part of a stop. */
const BESIDE_TASKS_MS = 3000;

/** The requests that are not answered yet: a stop waits for them before anything is closed that they need. */
@Injectable()
export class OpenRequests implements OnModuleDestroy {
  private count = 0;
  private tellDone = () => {};

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Counts each request from its headers to the last byte of its answer, or to the loss of its connection. */
  watch(server: FastifyInstance): void {
    server.addHook('onRequest', async (_request, reply) => {
      this.count++;
      reply.raw.once('close', () => {
        if (--this.count === 0) this.tellDone();
      });
    });
  }

  /** Modules are destroyed from the outermost inwards: the engine and the connections to Postgres come later. */
  async onModuleDestroy(): Promise<void> {
    if (this.count === 0) return;
    const { runsTasks, SHUTDOWN_GRACE: grace } = this.config;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.tellDone = resolve;
      timer = setTimeout(resolve, runsTasks ? Math.min(grace, BESIDE_TASKS_MS) : grace);
    });
    clearTimeout(timer);
    if (this.count > 0) this.logger.warn({ requests: this.count }, 'requests are broken off');
  }
}
