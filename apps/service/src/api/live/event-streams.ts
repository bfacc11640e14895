import { Inject, Injectable, StreamableFile } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { LiveFilter } from '@app/engine/live/live-subscription.js';
import { LiveUpdates } from '@app/engine/live/live-updates.js';
import type { Principal } from '@app/platform/auth/principal.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { EventStream } from './event-stream.js';
import { LiveConnections } from './live-connections.js';
import { unknownJobs } from './unknown-jobs.js';

/** Answers with server-sent events. */
@Injectable()
export class EventStreams {
  constructor(
    private readonly live: LiveUpdates,
    private readonly connections: LiveConnections,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** What happens to the jobs of the caller, after an id or from now on. */
  feed(
    principal: Principal,
    filter: LiveFilter,
    after: string | undefined,
    reply: FastifyReply,
  ): StreamableFile | undefined {
    if (reply.request.method === 'HEAD') return answerHead(reply);
    const stream = this.open(
      principal,
      () => subscription.close(),
      () => subscription.position(),
    );
    const subscription = this.live.subscribe(
      principal.ownerId,
      filter,
      (messages) => stream.tell(messages),
      (error) => this.failed(stream, error),
    );
    subscription.open(after).then(
      (unknown) => void stream.tell(unknownJobs(unknown, filter.jobIds)),
      (error: Error) => this.failed(stream, error),
    );
    return answer(reply, stream);
  }

  /** What has happened and happens to one job, after an id or from its beginning. Nothing when that is told already. */
  async job(
    principal: Principal,
    ownerId: string,
    jobId: string,
    after: string | undefined,
    reply: FastifyReply,
  ): Promise<StreamableFile | undefined> {
    if (reply.request.method === 'HEAD') return answerHead(reply);
    const events = this.live.follow(
      ownerId,
      jobId,
      (told) => stream.tell(told),
      (failure) => (failure ? this.failed(stream, failure) : stream.finish()),
    );
    if (after !== undefined && (await events.goOn(after))) {
      // An EventSource that gets this does not come back.
      void reply.status(204);
      return undefined;
    }
    const stream = this.open(principal, () => events.close());
    events.open().catch((error: Error) => this.failed(stream, error));
    return answer(reply, stream);
  }

  private open(
    principal: Principal,
    closed: () => void,
    position?: () => Promise<string | undefined>,
  ): EventStream {
    const givePlaceBack = this.connections.takePlace(principal);
    const stream = new EventStream({
      principal,
      most: this.config.LIVE_BUFFER,
      heartbeatMs: this.config.LIVE_HEARTBEAT,
      ...(position ? { position } : {}),
      closed: () => {
        givePlaceBack();
        this.connections.delete(stream);
        closed();
      },
    });
    this.connections.add(stream);
    return stream;
  }

  private failed(stream: EventStream, error: Error): void {
    this.logger.warn({ reason: error.message }, 'a stream of events has failed');
    stream.destroy();
  }
}

/** Nothing is opened for it, for it has no body. */
function answerHead(reply: FastifyReply): undefined {
  void reply.type('text/event-stream');
  return undefined;
}

function answer(reply: FastifyReply, stream: EventStream): StreamableFile {
  // Proxies that hold answers back until they are long would hold back all of it.
  void reply.header('X-Accel-Buffering', 'no');
  return new StreamableFile(stream, { type: 'text/event-stream' });
}
