import { setTimeout as delay } from 'node:timers/promises';
import type { ApiUser } from '../../support/api-client.js';
import type { History } from './history.js';

interface Seen {
  jobId: string;
  status: string;
  progress: number;
  version: number;
}

const PAUSE_MS = 300;

/** Reads the list of jobs again and again, as a page that shows them would, and records every change that it sees. */
export class Observer {
  private stopped = false;
  private readonly last = new Map<string, string>();
  private readonly loop: Promise<void>;

  constructor(
    private readonly user: () => ApiUser,
    private readonly history: History,
  ) {
    this.loop = this.run();
  }

  /** Looks once more and ends. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.loop;
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      await delay(PAUSE_MS);
      // What cannot be read now is read the next time.
      await this.look().catch(() => {});
    }
  }

  private async look(): Promise<void> {
    let cursor: string | null = '';
    while (cursor !== null) {
      const from = Date.now();
      const answer = await this.user().get(`/jobs?limit=200${cursor && `&cursor=${cursor}`}`);
      if (answer.status !== 200) return;
      for (const job of answer.body.jobs as Seen[]) this.note(from, job);
      cursor = answer.body.nextCursor as string | null;
    }
  }

  private note(from: number, { jobId, status, progress, version }: Seen): void {
    const now = `${status} ${progress} ${version}`;
    if (this.last.get(jobId) === now) return;
    this.last.set(jobId, now);
    this.history.note({ kind: 'seen', from, jobId, status, progress, version });
  }
}
