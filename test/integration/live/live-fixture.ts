import { Client } from 'pg';
import { LiveFeed, type ToldEvent } from '@app/engine/live/live-feed.js';
import { LiveKey } from '@app/engine/live/live-key.js';
import { type LiveMessage, LiveSubscription } from '@app/engine/live/live-subscription.js';
import { Database } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { createTestDatabase } from '../../support/database.js';
import { startEngine, type TestEngine } from '../../support/engine.js';
import { testRedis } from '../../support/redis.js';
import { LIFE, newJob, OWNER } from '../store/store-fixture.js';

/** A job in a transaction that stays open. */
export async function acceptLate(client: Client): Promise<string> {
  const { jobId } = newJob();
  await client.query('BEGIN');
  await client.query(
    `INSERT INTO jobs (id, owner_id, submitted_by, type, queue, status, failure_policy, max_attempts, resumable, finalize, payload)
     VALUES ($1, $2, 'x', 'test.type', 'default', 'queued', 'fail-fast', 1, false, false, 'null')`,
    [jobId, OWNER],
  );
  await client.query(
    `INSERT INTO job_events (job_id, generation, version, kind, actor) VALUES ($1, 1, 1, 'job.queued', 'x')`,
    [jobId],
  );
  return jobId;
}

/** Somebody who listens, and what they were told. */
export class Listener {
  readonly told: LiveMessage[] = [];
  readonly failures: Error[] = [];
  readonly subscription: LiveSubscription;

  /** @param attach what happens when it joins the feed */
  constructor(
    { app }: TestEngine,
    attach: LiveFeed['attach'] = (listener) => app.get(LiveFeed).attach(listener),
  ) {
    const real = app.get(LiveFeed);
    const feed = new Proxy(real, {
      get: (_, name) => {
        if (name === 'attach') return attach;
        const value: unknown = Reflect.get(real, name, real);
        return typeof value === 'function' ? value.bind(real) : value;
      },
    });
    const sources = { sql: app.get(Database).main, feed, key: app.get(LiveKey) };
    this.subscription = new LiveSubscription(
      OWNER,
      { jobIds: [], types: [] },
      sources,
      async (told) => void this.told.push(...told),
      (error) => this.failures.push(error),
    );
  }

  async open(after?: string): Promise<this> {
    await this.subscription.open(after);
    return this;
  }

  get jobs(): string[] {
    return this.told.flatMap((message) => (message.event === 'job-update' ? [message.data.jobId] : []));
  }

  idOf(jobId: string): string {
    return this.events.find((event) => event.jobId === jobId)?.id ?? '';
  }

  get events(): ToldEvent[] {
    return this.told.filter((message): message is ToldEvent => 'place' in message);
  }

  close(): void {
    this.subscription.close();
  }
}

/** An engine that runs nothing, with what happens to jobs and who listens to it. */
export interface LiveWorld {
  engine: TestEngine;
  sql: Database['main'];
  /** A connection for transactions that commit late. */
  late: Client;
  /** Another such connection, for the caller to end. */
  connect(): Promise<Client>;
  /** Accepts a job of one task; answers its id. */
  accept(): Promise<string>;
  /** Somebody listens, after a cursor or from now on. @param attach what happens when they join the feed */
  listen(after?: string, attach?: LiveFeed['attach']): Promise<Listener>;
  /** All who listen leave. */
  hush(): void;
  close(): Promise<void>;
}

export async function openLive(): Promise<LiveWorld> {
  const database = await createTestDatabase();
  const redis = testRedis();
  const engine = await startEngine({ databaseUrl: database.url, redis, jobTypes: [], executes: false });
  const sql = engine.app.get(Database).main;
  const connect = async () => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    return client;
  };
  const late = await connect();
  const listeners: Listener[] = [];
  return {
    engine,
    sql,
    late,
    connect,
    accept: async () => {
      const job = newJob();
      await acceptJobs(sql, [job], LIFE);
      return job.jobId;
    },
    listen: (after, attach) => {
      const listener = new Listener(engine, attach);
      listeners.push(listener);
      return listener.open(after);
    },
    hush: () => listeners.splice(0).forEach((listener) => listener.close()),
    close: async () => {
      await late.end();
      await engine.stop();
      await database.drop();
    },
  };
}
