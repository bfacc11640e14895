import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { ApiUser } from '../../support/api-client.js';
import type { Random } from './random.js';

interface Told {
  event: string;
  id?: string;
  data: {
    jobId: string;
    taskId?: string;
    status: string;
    version?: number;
    attempt?: number;
    present?: true;
  };
}

/** What one client was told, judged by what has happened. */
export interface Hearing {
  gaps: number;
  repeats: number;
  disorders: number;
  snapshots: number;
}

const ENDS = new Set(['completed', 'failed', 'canceled']);

/** How long a connection lasts, in milliseconds, while it may be lost. */
const LASTS = [100, 1500] as const;
const CONNECT_MS = 3000;

/** A client that loses its connection again and again, and goes on elsewhere behind the last that it has heard. */
export class LiveListener {
  connections = 0;
  private readonly heard: Told[] = [];
  private lastId: string | undefined;
  private socket: WebSocket | undefined;
  private settled = false;
  private stopped = false;
  private readonly loop: Promise<void>;
  private begun = () => {};
  /** Settles when it has begun to hear. */
  readonly first = new Promise<void>((resolve) => (this.begun = resolve));

  /** @param users the processes that may be asked now */
  constructor(
    private readonly users: () => ApiUser[],
    private readonly random: Random,
  ) {
    this.loop = this.run();
  }

  /** From now on it keeps its connection, as long as the other side does. */
  settle(): void {
    this.settled = true;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.socket?.terminate();
    await this.loop;
  }

  /** Whether it has heard what has one of these names. */
  hasHeard(names: Iterable<string>): boolean {
    const heard = new Set(this.heard.map(nameOf));
    return [...names].every((name) => heard.has(name));
  }

  /** @param happened the names of all that has happened */
  judge(happened: Set<string>): Hearing {
    const names = new Set(this.heard.map(nameOf));
    const versions = new Map<string, number>();
    const ended = new Set<string>();
    let disorders = 0;
    const events = this.heard.filter((told) => told.event.endsWith('-update'));
    for (const { event, data } of events) {
      const { jobId, version = 0 } = data;
      // Jobs tell by their versions, tasks must not speak up after the end of their job.
      const late = event === 'job-update' ? version < (versions.get(jobId) ?? 0) : ended.has(jobId);
      if (late) disorders++;
      if (event === 'job-update') versions.set(jobId, version);
      if (ENDS.has(data.status) && event === 'job-update') ended.add(jobId);
    }
    // What is told as it is, is no event.
    const all = events.filter(({ data }) => !data.present).map(nameOf);
    return {
      gaps: [...happened].filter((name) => !names.has(name)).length,
      repeats: all.length - new Set(all).size,
      disorders,
      snapshots: this.heard.filter(({ event }) => event === 'snapshot').length,
    };
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const user = this.random.pick(this.users());
      await (user ? this.connect(user) : delay(100));
    }
  }

  private async connect({ url, key }: ApiUser): Promise<void> {
    const after = this.lastId === undefined ? '' : `?after=${encodeURIComponent(this.lastId)}`;
    const socket = new WebSocket(`${url.replace('http', 'ws')}/${after}`, {
      headers: { authorization: `Bearer ${key}` },
      handshakeTimeout: CONNECT_MS,
    });
    this.socket = socket;
    const lasts = this.random.between(...LASTS);
    const timer = setTimeout(() => {
      // Some say goodbye, and some are just gone.
      if (this.settled) return;
      if (this.random.happens(0.5)) socket.close();
      else socket.terminate();
    }, lasts);
    await new Promise<void>((resolve) => {
      socket.on('open', () => this.connections++);
      socket.on('message', (data) => this.hear(JSON.parse(String(data)) as Told));
      socket.on('error', () => {});
      socket.once('close', () => resolve());
    });
    clearTimeout(timer);
    await delay(20);
  }

  private hear(told: Told): void {
    this.heard.push(told);
    if (told.id !== undefined) this.lastId = told.id;
    if (told.event === 'subscribed') this.begun();
  }
}

/** One event, whoever tells of it. */
export function nameOf({ event, data }: Told): string {
  const { jobId, version = '', taskId = '', attempt = '', status } = data;
  return [event, jobId, taskId, status, attempt, version].join(' ');
}
