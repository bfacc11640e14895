import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { withClient } from '@app/platform/prisma/open-client.js';
import { issueApiKey } from '@app/platform/prisma/api-key-store.js';
import { type RunningCatalog, startCatalog } from '../../../apps/catalog-sim/src/catalog-server.js';
import { onDatabase } from '../../../scripts/db/database.js';
import { ApiUser } from '../../support/api-client.js';
import { type Evidence, readEvidence } from '../evidence.js';
import { History } from './history.js';
import { Load } from './load.js';
import { Observer } from './observer.js';
import { Random } from './random.js';
import type { Servers } from './servers.js';
import { type Service, Services } from './services.js';

/** Short leases and intervals, so that a run sees many of them. */
const ENVIRONMENT = {
  LEASE: '2s',
  SWEEP_INTERVAL: '100ms',
  SYNC_CRON: '* * * * * *',
  SHUTDOWN_GRACE: '6s',
  CATALOG_TIMEOUT: '3s',
  LOG_LEVEL: 'info',
};

/** After that it is told what the system still waits for. */
const LONG_MS = 15_000;

/** What a world is made of. */
export interface WorldOptions {
  name: string;
  folder: string;
  servers: Servers;
  main: string;
  random: Random;
  workers: number;
  environment: Record<string, string>;
}

/** One api, some workers, a catalog, a load and whoever watches: what a scenario plays with. */
export class World {
  readonly random: Random;
  /** What the scenario itself has to tell. */
  readonly told: string[] = [];
  /** When the last fault was over. */
  private healedAt = Date.now();

  private constructor(
    readonly servers: Servers,
    readonly services: Services,
    readonly catalog: RunningCatalog,
    readonly load: Load,
    readonly history: History,
    private readonly observer: Observer,
    /** The API key of the load. */
    readonly key: string,
    private readonly files: { history: string; effects: string; catalog: string },
    private readonly databaseUrl: () => string,
    random: Random,
    private readonly user: () => ApiUser,
  ) {
    this.random = random;
  }

  /** Starts the processes of a scenario, on a database of its own. */
  static async start(options: WorldOptions): Promise<World> {
    const { name, servers, random } = options;
    const folder = join(options.folder, name);
    await mkdir(folder, { recursive: true });
    const [history, effects] = [join(folder, 'history.jsonl'), join(folder, 'effects.jsonl')];
    const files = { history, effects, catalog: join(folder, 'catalog.jsonl') };
    const database = `faults_${name.replaceAll('-', '_')}`;
    await servers.createDatabase(database);
    const catalog = await startCatalog();
    const record = new History(history);
    const environment = { ...ENVIRONMENT, ...options.environment, CATALOG_URL: catalog.url };
    const services = new Services(
      servers,
      { main: options.main, database, redisPrefix: name, environment },
      record,
    );
    try {
      const roles = ['api', ...Array.from({ length: options.workers }, () => 'task-worker')] as const;
      const started: Service[] = [];
      for (const role of roles) started.push(await services.start(role as 'api' | 'task-worker'));
      await Promise.all(started.map((service) => service.up()));
      const key = await withClient(servers.databaseUrl(database), (client) =>
        issueApiKey(client, {
          ownerId: 'faults',
          name,
          scopes: ['jobs:read', 'jobs:write', 'schedules:write'],
        }),
      );
      const user = () => new ApiUser(services.api.url, key.text);
      const load = new Load(user, record, effects, random.fork());
      const observer = new Observer(user, record);
      const url = () => servers.databaseUrl(database);
      return new World(
        servers,
        services,
        catalog,
        load,
        record,
        observer,
        key.text,
        files,
        url,
        random,
        user,
      );
    } catch (error) {
      services.killAll();
      await services.end();
      await catalog.stop();
      throw error;
    }
  }

  /** Notes a figure of the scenario's own, to be printed with the others. */
  tell(figure: string): void {
    this.told.push(figure);
  }

  /** Records a fault, and that the time to recover begins with it. */
  fault(what: string): void {
    this.history.note({ kind: 'fault', what });
    this.healedAt = Date.now();
  }

  /** Makes a schedule of jobs that take so long; answers its id. */
  async schedule(schedule: object, durationMs: number): Promise<string> {
    const payload = { marker: 'schedule', effects: this.files.effects, durationMs };
    const body = { ...schedule, job: { type: 'fault.work', payload } };
    const { status, body: made } = await this.user().send('POST', '/schedules', body);
    if (status !== 201) throw new Error(`POST /schedules answered ${status}: ${JSON.stringify(made)}`);
    return made.scheduleId;
  }

  /** Asks the database itself, not through a proxy. */
  async query<T extends object>(sql: string): Promise<T[]> {
    return onDatabase(this.databaseUrl(), async (client) => (await client.query<T>(sql)).rows);
  }

  /** The workers that run tasks now. */
  async busyWorkers(): Promise<Service[]> {
    const rows = await this.query<{ pid: number }>(
      `SELECT DISTINCT w.pid FROM tasks t JOIN workers w ON w.id = t.worker WHERE t.status = 'active'`,
    );
    return this.services.workers.filter(({ pid }) => rows.some((row) => row.pid === pid));
  }

  /** Waits until so many tasks run. */
  async untilActive(count: number, boundMs = 60_000): Promise<void> {
    const end = Date.now() + boundMs;
    while (Date.now() < end) {
      const [row] = await this.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM tasks WHERE status = 'active'`,
      );
      if ((row?.n ?? 0) >= count) return;
      await delay(50);
    }
    throw new Error(`${count} tasks were never active at one time.`);
  }

  /**
   * Waits until every job has ended; answers how long that took since the last fault, or undefined, and what it
   * waited for if it was long.
   */
  async untilQuiet(
    boundMs: number,
  ): Promise<{ recoverMs: number | undefined; waitedFor: string | undefined }> {
    const end = Date.now() + boundMs;
    let waitedFor: string | undefined;
    while (Date.now() < end) {
      const [row] = await this.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM jobs WHERE finished_at IS NULL',
      ).catch(() => [{ n: -1 }]);
      const recoverMs = Date.now() - this.healedAt;
      if (row?.n === 0) return { recoverMs, waitedFor };
      if (recoverMs > LONG_MS) waitedFor ??= await this.open();
      await delay(250);
    }
    return { recoverMs: undefined, waitedFor: await this.open() };
  }

  /** What is still to be done, and when the sweeper looks at it again. */
  private async open(): Promise<string> {
    const rows = await this.query<{ told: string }>(`
      SELECT count(*) || ' ' || d.kind || ' ' || COALESCE(t.status, j.status)
        || CASE WHEN d.kind <> 'finalize' AND d.incarnation <> '' THEN ' (sent)' ELSE '' END
        || ', looked at again in ' || max(round(extract(epoch FROM d.look_again_at - now()))) || ' s' AS told
      FROM dispatch d JOIN jobs j ON j.id = d.job_id LEFT JOIN tasks t ON t.id = d.id
      GROUP BY d.kind, COALESCE(t.status, j.status), d.kind <> 'finalize' AND d.incarnation <> ''`);
    return rows.map((row) => row.told).join('; ') || 'no dispatch row';
  }

  /** Ends the processes, and hands over all that is known of the run. */
  async end(): Promise<Evidence> {
    await this.observer.stop();
    await this.services.end();
    await this.catalog.stop();
    writeFileSync(
      this.files.catalog,
      this.catalog.requests.map((call) => `${JSON.stringify(call)}\n`).join(''),
    );
    return readEvidence(this.files, this.databaseUrl());
  }

  /** Ends them without a word, when the run is given up. */
  async abandon(): Promise<void> {
    this.services.killAll();
    await this.observer.stop();
    await this.services.end();
    await this.catalog.stop();
  }
}
