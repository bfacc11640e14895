import { once } from 'node:events';
import { createServer } from 'node:http';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Config } from '@app/platform/config/config.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import { Metrics } from '@app/platform/observability/metrics.js';

/** Serves the measurements on a port of their own, METRICS_PORT, which need not be reachable from outside. */
@Injectable()
export class MetricsServer implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly server = createServer((request, response) => {
    if (request.url !== '/metrics') return response.writeHead(404).end();
    this.metrics.text().then(
      (text) => response.writeHead(200, { 'content-type': this.metrics.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });

  constructor(
    private readonly metrics: Metrics,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    this.server.listen(this.config.METRICS_PORT, this.config.HOST);
    await once(this.server, 'listening');
  }

  async onApplicationShutdown(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
  }
}
