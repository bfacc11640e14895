import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import type { Config } from '../config/config.js';
import type { Logger } from '../observability/logger.js';
import { bootFailure } from './boot-failure.js';
import { Prisma, PrismaClient } from './generated/client.js';
import { findSessions, type Sessions } from './sessions.js';

export { Prisma, PrismaClient };

/** What a statement is run on: a client, or a transaction of one. */
export type Sql = Pick<PrismaClient, '$queryRaw' | '$executeRaw'>;

/** Milliseconds after which nobody waits for a statement any more. Where a session can say so, Postgres ends it before. */
const STATEMENT_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * The database, through connections that cannot starve one another: heartbeats have a few of their own, claims and
 * finishes others, transactions of handlers a third pool, everything else a fourth. One slow transaction of a user
 * therefore never lets leases run out.
 */
@Injectable()
export class Database implements OnApplicationBootstrap, OnModuleDestroy {
  /** Requests, the sweeper, the syncer. */
  readonly main: PrismaClient;
  /** Claims, finishes and progress. */
  readonly hot: PrismaClient;
  /** Heartbeats. */
  readonly pulse: PrismaClient;
  /** Transactions of handlers, which may be slow. */
  readonly effects: PrismaClient;
  private readonly url: string;
  private readonly sandboxed: boolean;

  private constructor(
    config: Config,
    sessions: Sessions,
    private readonly logger: Logger,
  ) {
    this.url = config.DATABASE_URL;
    this.sandboxed = config.sandboxed;
    const plain: Sessions = { connectionString: config.DATABASE_URL, statementName: undefined };
    const connect = (
      max: number,
      { connectionString, statementName } = sessions,
      patienceMs = STATEMENT_TIMEOUT_MS,
    ) =>
      new PrismaClient({
        adapter: new PrismaPg(
          {
            connectionString,
            max,
            connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
            query_timeout: patienceMs,
            application_name: `longhaul-${config.SERVICE_TYPE}`,
          },
          {
            onPoolError: (error) => this.lost(error),
            onConnectionError: (error) => this.lost(error),
            ...(statementName && { statementNameGenerator: ({ sql }) => statementName(sql) as string }),
          },
        ),
      });
    this.main = connect(config.sandboxed ? 1 : config.DATABASE_POOL);
    this.hot = config.runsTasks ? connect(4) : this.main;
    // A beat that is not answered must be asked again while the leases last, and not on a connection that is dead.
    this.pulse = config.runsTasks ? connect(2, sessions, config.LEASE / 3) : this.main;
    // What users ask of their tables is planned as they know it.
    this.effects = connect(
      config.runsTasks ? Math.min(config.MAX_CONCURRENT_TASKS, config.DATABASE_POOL) : 1,
      plain,
    );
  }

  /**
   * Opens the connections, in the way that what is between us and Postgres allows.
   * @throws {ConfigError} when it is out of reach.
   */
  static async open(config: Config, logger: Logger): Promise<Database> {
    // A sandbox begins also while Postgres is away, and does without prepared statements: it runs one task.
    if (config.sandboxed)
      return new Database(
        config,
        { connectionString: config.DATABASE_URL, statementName: undefined },
        logger,
      );
    const sessions = await findSessions(config.DATABASE_URL, CONNECT_TIMEOUT_MS).catch((error: unknown) => {
      throw bootFailure(error, config.DATABASE_URL);
    });
    if (!sessions.statementName)
      logger.info({}, 'a pooler lends the connections to Postgres: no statement is prepared');
    return new Database(config, sessions, logger);
  }

  /** Fails the boot when the database cannot be reached or was never migrated. */
  async onApplicationBootstrap(): Promise<void> {
    if (this.sandboxed) return;
    try {
      await this.main.$queryRaw`SELECT 1 FROM settings LIMIT 1`;
    } catch (error) {
      throw bootFailure(error, this.url);
    }
  }

  /** Whether Postgres answers within a second. */
  async answers(): Promise<boolean> {
    const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), 1000).unref());
    const asked = this.main.$queryRaw`SELECT 1`.then(
      () => true,
      () => false,
    );
    return Promise.race([asked, late]);
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all(
      [...new Set([this.main, this.hot, this.pulse, this.effects])].map((client) => client.$disconnect()),
    );
  }

  private lost(error: Error): void {
    this.logger.warn({ reason: error.message }, 'a connection to Postgres was lost');
  }
}
