import { Inject, Injectable } from '@nestjs/common';
import { QuotaExceededError } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { Database } from '@app/platform/prisma/database.js';
import { countOpen, type OpenWork } from './store/open-work.js';

/** How long a count is believed; and before anything is refused. What other processes accept meanwhile is not seen. */
const BELIEVED_MS = 500;
const BELIEVED_TO_REFUSE_MS = 50;

/** Owners that are remembered at a time. */
const MOST_OWNERS = 10_000;

interface Account {
  /** What was open when it was counted, and what was accepted here since. */
  open: OpenWork;
  /** What is being accepted. */
  pending: OpenWork;
  countedAt: number;
  counting: Promise<void> | undefined;
}

/**
 * How much an owner may have open, over all processes: it is counted in Postgres, at most twice a second for an owner.
 * Several processes together may accept a little more than that before they see one another.
 */
@Injectable()
export class Quotas {
  private readonly accounts = new Map<string, Account>();

  constructor(
    private readonly database: Database,
    @Inject(CONFIG) private readonly config: Pick<Config, 'MAX_OPEN_JOBS' | 'MAX_OPEN_TASKS'>,
  ) {}

  /**
   * Runs what accepts a job of so many tasks, if the owner may have it.
   * @param accept whether it was accepted, and what else there is to tell
   * @throws {QuotaExceededError} when the owner would have too much open; nothing was run then.
   */
  async within<A extends { accepted: boolean }>(
    ownerId: string,
    tasks: number,
    accept: () => Promise<A>,
  ): Promise<A> {
    if (this.config.MAX_OPEN_JOBS === undefined && this.config.MAX_OPEN_TASKS === undefined) return accept();
    const account = this.accountOf(ownerId);
    await this.count(ownerId, account, BELIEVED_MS);
    if (this.excess(account, tasks)) await this.count(ownerId, account, BELIEVED_TO_REFUSE_MS);
    const excess = this.excess(account, tasks);
    if (excess) throw excess;
    add(account.pending, 1, tasks);
    try {
      const answer = await accept();
      if (answer.accepted) add(account.open, 1, tasks);
      return answer;
    } finally {
      add(account.pending, -1, -tasks);
    }
  }

  private accountOf(ownerId: string): Account {
    const known = this.accounts.get(ownerId);
    if (known) return known;
    const [oldest] = this.accounts.keys();
    if (this.accounts.size >= MOST_OWNERS && oldest !== undefined) this.accounts.delete(oldest);
    const account = { open: nothing(), pending: nothing(), countedAt: -Infinity, counting: undefined };
    this.accounts.set(ownerId, account);
    return account;
  }

  private async count(ownerId: string, account: Account, believedMs: number): Promise<void> {
    if (performance.now() - account.countedAt < believedMs) return;
    account.counting ??= this.countAnew(ownerId, account).finally(() => (account.counting = undefined));
    await account.counting;
  }

  private async countAnew(ownerId: string, account: Account): Promise<void> {
    const began = performance.now();
    account.open = await countOpen(this.database.main, ownerId, this.config.MAX_OPEN_JOBS);
    account.countedAt = began;
  }

  private excess({ open, pending }: Account, tasks: number): QuotaExceededError | undefined {
    const { MAX_OPEN_JOBS: mostJobs = Infinity, MAX_OPEN_TASKS: mostTasks = Infinity } = this.config;
    if (open.jobs + pending.jobs + 1 > mostJobs) return new QuotaExceededError('jobs', mostJobs);
    if (open.tasks + pending.tasks + tasks > mostTasks) return new QuotaExceededError('tasks', mostTasks);
    return undefined;
  }
}

const nothing = (): OpenWork => ({ jobs: 0, tasks: 0 });

function add(work: OpenWork, jobs: number, tasks: number): void {
  work.jobs += jobs;
  work.tasks += tasks;
}
