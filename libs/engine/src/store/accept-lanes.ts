import { setTimeout as delay } from 'node:timers/promises';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { type Acceptance, acceptJobs, type KeyLocked, type NewJob } from './accept-jobs.js';
import { Batcher } from './batcher.js';
import { retryRaces } from './in-transaction.js';

/** Jobs and tasks that are accepted in one statement; a job that has more tasks goes alone. */
const BATCH = 1000;
/** How long a batch waits for a key, and who waits alone each time, in milliseconds. Other processes commit sooner. */
const LOCK_MS = { together: 100, alone: 20 };
/** Milliseconds between the tries of who waits alone: they grow up to the second. */
const PAUSE_MS = [20, 300] as const;
/** How long a submit waits for a key in all, in milliseconds: as long as for any statement. */
const PATIENCE_MS = 14_000;

type Answer = Acceptance | KeyLocked;

const weightOf = (job: NewJob) => 1 + job.units.length;

/** A key of a job was held by an open transaction for as long as anybody waits. */
class KeyHeldError extends Error {
  override readonly name = 'KeyHeldError';
  /** As Postgres says it of a lock. */
  readonly code = '55P03';
  constructor() {
    super('An open transaction holds a key of this job.');
  }
}

/**
 * Accepts jobs in batches apart, for a key may be held by a transaction of somebody else that stays open: those
 * without a key wait for nobody. Of the others a batch waits for a moment, and then each goes on alone, as do those that
 * come later with a key of theirs, so that what waits holds nobody up.
 */
export class AcceptLanes {
  private readonly plain: Batcher<NewJob, Answer>;
  private readonly keyed: Batcher<NewJob, Answer>;
  private readonly alone: Batcher<NewJob, Answer>;
  /** How many wait alone for each key. */
  private readonly awaited = new Map<string, number>();

  /** @param incarnation answers the life of Redis that messages are sent to */
  constructor(
    private readonly client: PrismaClient,
    private readonly incarnation: () => string,
  ) {
    const lane = (
      lockMs: number | undefined,
      limit: { most: number; weightOf?: typeof weightOf; lanes?: number },
    ) =>
      new Batcher<NewJob, Answer>(
        (job) => job.jobId,
        (jobs) => this.accept(jobs, lockMs),
        limit,
      );
    // One is read and answered while another is written. New rows are in nobody's way.
    this.plain = lane(undefined, { most: BATCH, weightOf, lanes: 2 });
    this.keyed = lane(LOCK_MS.together, { most: BATCH, weightOf });
    this.alone = lane(LOCK_MS.alone, { most: 1 });
  }

  /**
   * Resolves after the commit.
   * @throws an outage (`isOutage`) when a key was held all the time
   */
  async add(job: NewJob): Promise<Acceptance> {
    const keys = keysOf(job);
    const lane = keys.length === 0 ? this.plain : this.keyed;
    const answer = keys.some((key) => this.awaited.has(key)) ? undefined : await lane.add(job);
    return answer && answer.kind !== 'locked' ? answer : this.waitAlone(job, keys);
  }

  private async waitAlone(job: NewJob, keys: string[]): Promise<Acceptance> {
    for (const key of keys) this.awaited.set(key, (this.awaited.get(key) ?? 0) + 1);
    const end = performance.now() + PATIENCE_MS;
    const [first, last] = PAUSE_MS;
    try {
      for (let pause: number = first; ; pause = Math.min(last, pause * 1.5)) {
        const answer = await this.alone.add(job);
        if (answer.kind !== 'locked') return answer;
        if (performance.now() > end) throw new KeyHeldError();
        await delay(pause * (0.5 + Math.random()));
      }
    } finally {
      for (const key of keys) {
        const others = (this.awaited.get(key) ?? 1) - 1;
        if (others === 0) this.awaited.delete(key);
        else this.awaited.set(key, others);
      }
    }
  }

  private async accept(jobs: NewJob[], lockMs: number | undefined): Promise<Map<string, Answer>> {
    const incarnation = this.incarnation();
    const answers: Answer[] = await retryRaces(() =>
      lockMs === undefined
        ? acceptJobs(this.client, jobs, incarnation)
        : acceptJobs(this.client, jobs, incarnation, lockMs),
    );
    return new Map(jobs.map((job, index) => [job.jobId, answers[index] as Answer]));
  }
}

function keysOf({ ownerId, idempotency, dedupe }: NewJob): string[] {
  const keys = dedupe.map(({ scope, key }) => JSON.stringify([scope, key]));
  return idempotency ? [...keys, JSON.stringify(['idempotency', ownerId, idempotency.key])] : keys;
}
