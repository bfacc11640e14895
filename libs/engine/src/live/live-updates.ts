import { Injectable } from '@nestjs/common';
import { Database } from '@app/platform/prisma/database.js';
import { JobStream } from './job-stream.js';
import { LiveFeed, type ToldEvent } from './live-feed.js';
import { LiveKey } from './live-key.js';
import { type LiveFilter, type LiveMessage, LiveSubscription } from './live-subscription.js';

/** Live events of jobs, always for an owner. */
@Injectable()
export class LiveUpdates {
  constructor(
    private readonly database: Database,
    private readonly feed: LiveFeed,
    private readonly key: LiveKey,
  ) {}

  /** What happens to the owner's jobs from now on, or since a cursor, once it is opened. */
  subscribe(
    ownerId: string,
    filter: LiveFilter,
    tell: (messages: LiveMessage[]) => Promise<void>,
    fail: (error: Error) => void,
  ): LiveSubscription {
    return new LiveSubscription(ownerId, filter, this.sources, tell, fail);
  }

  /** What has happened and happens to one job of the owner until it ends, once it is opened. */
  follow(
    ownerId: string,
    jobId: string,
    tell: (events: ToldEvent[]) => Promise<void>,
    end: (failure?: Error) => void,
  ): JobStream {
    return new JobStream(ownerId, jobId, this.sources, tell, end);
  }

  private get sources() {
    return { sql: this.database.main, feed: this.feed, key: this.key };
  }
}
