import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { isBadData, isOutage, isRaceLost } from '@app/platform/prisma/sql-errors.js';
import { Batcher } from '../store/batcher.js';
import { type ClaimedTask, type ClaimMember, type ClaimResult, claimTasks } from '../store/claim-tasks.js';
import { type Finish, type FinishMember, finishTasks } from '../store/finish-tasks.js';
import { EngineMetrics } from './engine-metrics.js';
import { WorkerIdentity } from './worker-identity.js';

/** Tries with the others of a batch, before a member whose job row is locked is written alone and waits. */
const BUSY_TRIES = 3;
const BUSY_PAUSE_MS = 5;
/** Between two tries while Postgres cannot be reached. */
const AWAY_PAUSE_MS = { least: 50, most: 2000 };

/** Claims and finishes attempts, many at a time. */
@Injectable()
export class TaskWrites {
  private readonly claims: Batcher<ClaimMember, ClaimResult>;
  private readonly finishes: Batcher<FinishMember, Finish>;

  constructor(
    private readonly database: Database,
    private readonly identity: WorkerIdentity,
    private readonly metrics: EngineMetrics,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.claims = new Batcher(
      (member) => member.taskId,
      (members) => claimTasks(database.hot, members, identity.id, config.LEASE),
    );
    this.finishes = new Batcher(
      (member) => member.taskId,
      (members) => finishTasks(database.hot, members, identity.actor),
    );
  }

  /**
   * Claims a task for this process, or answers undefined when it is not to be had. When the reply is lost, the claim
   * may have been committed: it is asked for again under the same nonce, as long as its lease can last, and then under
   * a new one, which such a claim refuses until the sweeper has judged it. While Postgres is away nobody could take the
   * task; given up, it would wait until its message is missed.
   * @param signal ends the tries: the message is given up
   */
  async claim(
    taskId: string,
    epoch: number,
    signal: AbortSignal,
  ): Promise<{ task: ClaimedTask; leaseEnd: number } | undefined> {
    let nonce = randomUUID();
    // Taken before the statement is sent, so that our clock gives the lease up before Postgres does.
    let asked = performance.now();
    let unanswered = false;
    let pause = AWAY_PAUSE_MS.least;
    for (let attempt = 1; !signal.aborted; attempt++) {
      if (unanswered && performance.now() > asked + this.config.LEASE / 2) {
        nonce = randomUUID();
        unanswered = false;
      }
      if (!unanswered) asked = performance.now();
      const result = await this.claims.add({ taskId, nonce, epoch }).catch((error: Error) => {
        if (!isOutage(error) && !isRaceLost(error)) throw error;
        this.logger.warn({ taskId, reason: error.message }, 'a claim was not answered');
        return undefined;
      });
      if (!result) {
        unanswered = true;
        await delay(pause * (0.5 + Math.random() / 2));
        pause = Math.min(pause * 2, AWAY_PAUSE_MS.most);
        continue;
      }
      this.metrics.claims.inc({ result: result.kind });
      if (result.kind === 'claimed') {
        if (result.task.fence > 1) this.metrics.redelivered.inc();
        return { task: result.task, leaseEnd: asked + this.config.LEASE };
      }
      if (result.kind === 'not-open') return undefined;
      await delay(BUSY_PAUSE_MS * Math.min(attempt, 20));
    }
    return undefined;
  }

  /**
   * Writes what became of an attempt; does not give up while Postgres is away. Values that cannot be stored make
   * the attempt a failed one.
   * @param signal ends the tries: the process has to go
   */
  async finish(member: FinishMember, signal: AbortSignal): Promise<Finish | undefined> {
    let pause = AWAY_PAUSE_MS.least;
    for (let attempt = 1; !signal.aborted;) {
      try {
        const finish = await (attempt <= BUSY_TRIES ? this.finishes.add(member) : this.finishAlone(member));
        this.metrics.finishes.inc({ status: member.status, result: finish?.kind ?? 'stale' });
        if (finish?.kind !== 'busy') return finish;
        attempt++;
        await delay(BUSY_PAUSE_MS * attempt);
      } catch (error) {
        if (isBadData(error)) return this.finish(unstorable(member, error), signal);
        this.logger.warn(
          { taskId: member.taskId, reason: (error as Error).message },
          'a finish waits for Postgres',
        );
        await delay(pause * (0.5 + Math.random() / 2));
        pause = Math.min(pause * 2, AWAY_PAUSE_MS.most);
      }
    }
    return undefined;
  }

  private async finishAlone(member: FinishMember): Promise<Finish | undefined> {
    return (await finishTasks(this.database.hot, [member], this.identity.actor, true)).get(member.taskId);
  }
}

function unstorable(member: FinishMember, error: unknown): FinishMember {
  const reason = (error as Error).message.split('\n').at(-1) ?? '';
  const message = `What the handler returned could not be stored: ${reason}`.slice(0, 500);
  return {
    ...member,
    status: 'failed',
    result: undefined,
    error: { code: 'handler_error', message, taskId: member.taskId },
  };
}
