import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { History } from './history.js';
import { Proxy } from './proxy.js';
import type { Servers } from './servers.js';

/** What all processes of a scenario have in common. */
export interface ServiceSettings {
  /** The compiled service. */
  main: string;
  database: string;
  redisPrefix: string;
  environment: Record<string, string>;
}

const living = new Set<Service>();
let closing = false;

/** Kills every process that was started, and from now on any that is being started: the run is interrupted. */
export function closeForGood(): void {
  closing = true;
  for (const service of living) service.kill();
}

/** One real process of the service, behind proxies of its own. */
export class Service {
  url = '';
  readonly log: string[] = [];
  readonly ended: Promise<number | null>;
  /** Whether it was killed, or asked to end. */
  sentAway = false;
  private expected = false;
  private readonly child: ChildProcess;
  private readonly started: Promise<void>;

  constructor(
    readonly name: string,
    main: string,
    environment: Record<string, string>,
    readonly postgres: Proxy,
    readonly redis: Proxy,
    private readonly history: History,
  ) {
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment };
    // Its standard input closes when this process ends, however it ends, and the service then ends too.
    this.child = spawn(process.execPath, [main], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    living.add(this);
    if (closing) this.kill();
    this.ended = new Promise((resolve) => {
      this.child.once('exit', (code) => {
        living.delete(this);
        this.note('ended', code);
        resolve(code);
      });
    });
    this.started = new Promise((resolve) => {
      const read = (line: string) => {
        this.log.push(line);
        const up = /"url":"(http:[^"]+)","msg":"longhaul is up"/.exec(line);
        if (!up?.[1]) return;
        this.url = up[1];
        this.note('up');
        resolve();
      };
      for (const output of [this.child.stdout, this.child.stderr])
        if (output) createInterface({ input: output }).on('line', read);
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Whether it answers and may be harmed. */
  get isUp(): boolean {
    return (
      this.url !== '' && !this.sentAway && this.child.exitCode === null && this.child.signalCode === null
    );
  }

  /** Whether it has ended, and nobody had asked it to. */
  get diedOfItself(): boolean {
    return !this.sentAway && (this.child.exitCode !== null || this.child.signalCode !== null);
  }

  /** Whether it has ended so, and nobody had expected that either. */
  get leftByItself(): boolean {
    return !this.expected && this.diedOfItself;
  }

  /** Its end is part of the scenario, though nobody will ask it to. */
  mayDie(): void {
    this.expected = true;
  }

  /** Waits until it is up; rejects when it ends before. */
  async up(): Promise<void> {
    await Promise.race([this.started, this.ended]);
    if (this.url === '' && !this.sentAway)
      throw new Error(`${this.name} ended before it was up:\n${this.log.slice(-20).join('\n')}`);
  }

  kill(): void {
    this.sentAway = true;
    this.child.kill('SIGKILL');
    this.note('killed');
  }

  /** Takes the processor from it (SIGSTOP). */
  pause(): void {
    this.child.kill('SIGSTOP');
    this.note('stopped');
  }

  /** Gives it back (SIGCONT). */
  resume(): void {
    this.child.kill('SIGCONT');
    this.note('continued');
  }

  /** Asks it to end (SIGTERM) and answers its exit code; kills it when it takes much too long. */
  async end(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.sentAway = true;
      this.note('asked-to-end');
      this.child.kill('SIGCONT');
      this.child.kill('SIGTERM');
    }
    const late = setTimeout(() => this.child.kill('SIGKILL'), 40_000);
    return this.ended.finally(() => clearTimeout(late));
  }

  private note(
    event: 'up' | 'killed' | 'stopped' | 'continued' | 'asked-to-end' | 'ended',
    code?: number | null,
  ) {
    this.history.note({
      kind: 'process',
      event,
      pid: this.pid,
      name: this.name,
      ...(code === undefined ? {} : { code }),
    });
  }
}

/** The processes of one scenario. */
export class Services {
  readonly all: Service[] = [];
  private count = 0;

  constructor(
    private readonly servers: Servers,
    private readonly settings: ServiceSettings,
    private readonly history: History,
  ) {}

  /** The workers that are up. */
  get workers(): Service[] {
    return this.all.filter((service) => service.name.startsWith('worker') && service.isUp);
  }

  get api(): Service {
    const api = this.all.find((service) => service.name.startsWith('api') && service.isUp);
    if (!api) throw new Error('No api process is up.');
    return api;
  }

  /**
   * Starts a process and does not wait until it is up.
   * @param more settings of its own, and whatever else its process is to find
   */
  async start(role: 'api' | 'task-worker', more: Record<string, string> = {}): Promise<Service> {
    const { main, database, redisPrefix, environment } = this.settings;
    const { ports } = this.servers;
    const [postgres, redis] = [
      await Proxy.start(ports.postgres, 'postgres'),
      await Proxy.start(ports.redis, 'redis'),
    ];
    this.servers.follow('postgres', postgres);
    this.servers.follow('redis', redis);
    const name = `${role === 'api' ? 'api' : 'worker'}-${++this.count}`;
    const service = new Service(
      name,
      main,
      {
        SERVICE_TYPE: role,
        HOST: '127.0.0.1',
        PORT: '0',
        DATABASE_URL: this.servers.databaseUrl(database, postgres.port),
        REDIS_URL: `redis://127.0.0.1:${redis.port}`,
        REDIS_PREFIX: redisPrefix,
        ...environment,
        ...more,
      },
      postgres,
      redis,
      this.history,
    );
    this.all.push(service);
    return service;
  }

  /** Ends all: workers by the proper way, whatever is left by force. */
  async end(): Promise<void> {
    await Promise.all(this.all.map((service) => service.end()));
    for (const { postgres, redis } of this.all) await Promise.all([postgres.stop(), redis.stop()]);
    this.servers.unfollow();
  }

  /** At once and without a word. */
  killAll(): void {
    for (const service of this.all) if (living.has(service)) service.kill();
  }
}
