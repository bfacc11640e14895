import { randomUUID } from 'node:crypto';
import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { RedisOptions } from 'ioredis';
import { CONFIG } from '../config/config.module.js';
import type { Config } from '../config/config.js';
import { type Logger, LOGGER } from '../observability/logger.js';
import { RedisConnection } from './redis-connection.js';
import { replaceWhenSilent } from './replace-when-silent.js';

/** Between two tries to connect: at most 1 s, with jitter so that pods do not return together. */
const reconnectDelay = (tries: number) =>
  Math.min(50 * 2 ** Math.min(tries, 5), 1000) * (0.5 + Math.random() / 2);

/** After this a channel that was refused is asked for again. */
const ASK_AGAIN_MS = 1000;

/** A connection that waits for Redis to come back, as blocking readers and subscribers need. */
export function patientOptions(url: string): RedisOptions & { url: string } {
  return { url, maxRetriesPerRequest: null, retryStrategy: reconnectDelay, enableReadyCheck: true };
}

/** A connection whose commands fail at once while Redis is away. */
export function failFastOptions(url: string): RedisOptions & { url: string } {
  return {
    url,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    commandTimeout: 2000,
    connectTimeout: 2000,
    retryStrategy: reconnectDelay,
  };
}

/** Opens a connection whose loss and return are logged, once each, and that is replaced when it is dead. */
export function connect(
  options: RedisOptions & { url: string },
  name: string,
  logger: Logger,
): RedisConnection {
  const { url, ...rest } = options;
  const client = new RedisConnection(url, { ...rest, connectionName: `longhaul-${name}` });
  let away = false;
  client.on('error', (error: Error) => {
    if (!away) logger.warn({ connection: name, reason: error.message }, 'Redis is away');
    away = true;
  });
  client.on('ready', () => {
    if (away) logger.info({ connection: name }, 'Redis is back');
    away = false;
  });
  replaceWhenSilent(client);
  return client;
}

/**
 * Redis as a messenger: publishing, subscribing, and telling one life of a Redis from the next. Nothing here
 * is a truth; every message has a row in Postgres that tells the same.
 */
@Injectable()
export class Redis implements OnModuleDestroy {
  private readonly commands: RedisConnection;
  private readonly lent: RedisConnection[] = [];
  private subscriber: RedisConnection | undefined;
  private readonly unheard = new Set<string>();
  private askingAgain: NodeJS.Timeout | undefined;
  private closed = false;
  private readonly handlers = new Map<string, (message: string) => void>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.commands = connect(failFastOptions(config.REDIS_URL), 'commands', logger);
  }

  /** Whether commands can be sent now. */
  get ready(): boolean {
    return this.commands.status === 'ready';
  }

  /** Sends a hint. A failure is logged and otherwise of no consequence, and nothing is sent by who stops. */
  async publish(channel: string, message: object): Promise<void> {
    if (this.closed) return;
    try {
      await this.commands.publish(this.key(channel), JSON.stringify(message));
    } catch (error) {
      // The log may have ended before this connection was missed.
      if (this.closed) return;
      this.logger.warn({ channel, reason: (error as Error).message }, 'a message was not published');
    }
  }

  /**
   * Runs a script on a key.
   * @throws when Redis is away, or does not answer before the deadline; whether the script was run is not known then.
   */
  async evaluate(script: string, key: string, values: number[], deadlineMs: number): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      // Its answer may be there already, where it was this process that had no time to look.
      const giveUp = () => reject(new Error('Redis did not answer in time.'));
      timer = setTimeout(() => setImmediate(giveUp), deadlineMs);
    });
    const answer = this.commands.eval(script, 1, this.key(key), ...values);
    // Of an answer that nobody waits for any more.
    answer.catch(() => {});
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A connection for who sends: fails at once while Redis is away. Closed with this provider. */
  producer(): RedisConnection {
    return this.lend(failFastOptions(this.config.REDIS_URL), 'producer');
  }

  /** A connection for who waits for messages: waits for Redis to come back. Closed with this provider. */
  consumer(): RedisConnection {
    return this.lend(patientOptions(this.config.REDIS_URL), 'consumer');
  }

  /**
   * Listens to a channel, now and after every reconnect; what Redis refuses is asked for again. Settles when it was asked for
   * once. Messages that are not JSON objects are dropped.
   */
  async subscribe(channel: string, handle: (message: Record<string, unknown>) => void): Promise<void> {
    this.subscriber ??= this.openSubscriber();
    this.handlers.set(this.key(channel), (text) => {
      const message = parseObject(text);
      if (message) handle(message);
    });
    // Else it is asked for when the connection is there.
    if (this.ready) await this.askFor(this.subscriber, [this.key(channel)]);
  }

  /**
   * The id of this life of Redis. A flushed, replaced or failed-over Redis has another one, and then nothing
   * that was sent before may be counted on.
   * @throws when Redis is away.
   */
  async incarnation(): Promise<string> {
    const key = this.key('incarnation');
    const known = await this.commands.get(key);
    if (known !== null) return known;
    // The first writer wins and everybody reads the winner's id back.
    await this.commands.set(key, randomUUID(), 'NX');
    return (await this.commands.get(key)) ?? '';
  }

  /** What Redis does when its memory is full. @throws when Redis is away. */
  async evictionPolicy(): Promise<string | undefined> {
    return /^maxmemory_policy:(\S+)/m.exec(await this.commands.info('memory'))?.[1];
  }

  async onModuleDestroy(): Promise<void> {
    this.closed = true;
    clearTimeout(this.askingAgain);
    for (const client of [this.subscriber, this.commands, ...this.lent]) client?.disconnect();
  }

  private lend(options: RedisOptions & { url: string }, name: string): RedisConnection {
    const client = connect(options, name, this.logger);
    this.lent.push(client);
    return client;
  }

  private openSubscriber(): RedisConnection {
    // Of a subscription that it repeats by itself and that is refused, ioredis tells nobody but the process, which that ends.
    const options = { ...patientOptions(this.config.REDIS_URL), autoResubscribe: false };
    const subscriber = connect(options, 'subscriber', this.logger);
    subscriber.on('message', (channel: string, text: string) => this.handlers.get(channel)?.(text));
    subscriber.on('ready', () => void this.askFor(subscriber, [...this.handlers.keys()]));
    return subscriber;
  }

  /** One by one: a channel that is refused does not keep the others from being heard. */
  private async askFor(subscriber: RedisConnection, channels: string[]): Promise<void> {
    await Promise.all(channels.map((channel) => this.ask(subscriber, channel)));
    if (this.unheard.size === 0 || this.closed) return;
    clearTimeout(this.askingAgain);
    this.askingAgain = setTimeout(
      () => void this.askFor(subscriber, [...this.unheard]),
      ASK_AGAIN_MS,
    ).unref();
  }

  private async ask(subscriber: RedisConnection, channel: string): Promise<void> {
    try {
      await subscriber.subscribe(channel);
      this.unheard.delete(channel);
    } catch (error) {
      if (this.closed || this.unheard.has(channel)) return;
      this.unheard.add(channel);
      this.logger.warn({ channel, reason: (error as Error).message }, 'not subscribed');
    }
  }

  private key(name: string): string {
    return `${this.config.REDIS_PREFIX}:${name}`;
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
