import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { isBadData, isOutage, isRaceLost } from '@app/platform/prisma/sql-errors.js';
import { LivePoke } from '../live/live-poke.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { Batcher } from '../store/batcher.js';
import { type ClaimedTask, type ClaimMember, type ClaimResult, claimTasks } from '../store/claim-tasks.js';
import { type Finish, type FinishMember, finishTasks } from '../store/finish-tasks.js';
import { renewLeases } from '../store/renew-leases.js';
import { EngineMetrics } from './engine-metrics.js';
import { outagePause } from './outage-pause.js';
import { WorkerIdentity } from './worker-identity.js';

/** Tries with the others of a batch, before a member whose job row is locked is written alone and waits. */
const BUSY_TRIES = 3;
const BUSY_PAUSE_MS = 5;

/** Claims and finishes attempts, many at a time. */
@Injectable()
export class TaskWrites {
  private readonly claims: Batcher<ClaimMember, ClaimResult>;
  private readonly finishes: Batcher<FinishMember, Finish>;

  constructor(
    private readonly database: Database,
    private readonly identity: WorkerIdentity,
    private readonly metrics: EngineMetrics,
    live: LivePoke,
    types: JobTypeRegistry,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.claims = new Batcher(
      (member) => member.taskId,
      async (members) => {
        const claimed = await claimTasks(database.hot, members, identity.id, config.LEASE, types.versions);
        live.poke();
        return claimed;
      },
    );
    this.finishes = new Batcher(
      (member) => member.taskId,
      async (members) => {
        const finished = await finishTasks(database.hot, members, identity.actor);
        live.poke();
        return finished;
      },
    );
  }

  /**
   * Claims a task for this process. When the reply is lost, the claim may have been committed: it is asked for again
   * under the same nonce, as long as Postgres is away, for nobody could take the task meanwhile; given up, it would wait
   * until its message is missed. A claim that comes to light so late that its lease may have ended is renewed first.
   * @param signal ends the tries
   * @returns `not-open` when it is not to be had; `lacking` when this worker has no code for it; `given-up` when the
   * tries were ended
   */
  async claim(
    taskId: string,
    epoch: number,
    signal: AbortSignal,
  ): Promise<{ task: ClaimedTask; leaseEnd: number } | 'not-open' | 'lacking' | 'given-up'> {
    const nonce = randomUUID();
    // Taken before the statement is sent, so that our clock gives the lease up before Postgres does.
    let asked = performance.now();
    let unanswered = false;
    const pause = outagePause();
    for (let attempt = 1; !signal.aborted || unanswered; attempt++) {
      if (!unanswered) asked = performance.now();
      const result = await this.claims.add({ taskId, nonce, epoch }).catch((error: Error) => {
        if (!isOutage(error) && !isRaceLost(error)) throw error;
        this.logger.warn({ taskId, reason: error.message }, 'a claim was not answered');
        return undefined;
      });
      if (!result) {
        if (signal.aborted) break;
        unanswered = true;
        await pause();
        continue;
      }
      unanswered = false;
      this.metrics.claims.inc({ result: result.kind });
      if (result.kind === 'not-open' || result.kind === 'lacking') return result.kind;
      if (result.kind === 'claimed') {
        if (result.task.fence > 1) this.metrics.redelivered.inc();
        const leaseEnd = await this.leaseEnd(result.task, asked);
        return leaseEnd === undefined ? 'not-open' : { task: result.task, leaseEnd };
      }
      await delay(BUSY_PAUSE_MS * Math.min(attempt, 20));
    }
    return 'given-up';
  }

  /** When the lease of a claim ends that was first asked for at `asked`; undefined when it was lost. */
  private async leaseEnd(task: ClaimedTask, asked: number): Promise<number | undefined> {
    const { LEASE } = this.config;
    const now = performance.now();
    if (now < asked + LEASE / 2) return asked + LEASE;
    const lease = { taskId: task.taskId, fence: task.fence };
    const renewals = await renewLeases(this.database.hot, this.identity.id, [lease], LEASE);
    return renewals.get(task.taskId) === 'renewed' ? now + LEASE : undefined;
  }

  /**
   * Writes what became of an attempt; does not give up while Postgres is away. Values that cannot be stored make
   * the attempt a failed one.
   * @param signal ends the tries: the process has to go
   */
  async finish(member: FinishMember, signal: AbortSignal, substituted = false): Promise<Finish | undefined> {
    const pause = outagePause();
    for (let attempt = 1; !signal.aborted;) {
      try {
        const finish = await (attempt <= BUSY_TRIES ? this.finishes.add(member) : this.finishAlone(member));
        this.metrics.finishes.inc({ status: member.status, result: finish?.kind ?? 'stale' });
        if (finish?.kind !== 'busy') return finish;
        attempt++;
        await delay(BUSY_PAUSE_MS * attempt);
      } catch (error) {
        // If the substitute is refused too, it is the rows that are wrong, and repair will mend them.
        if (isBadData(error) && !substituted) return this.finish(unstorable(member, error), signal, true);
        this.logger.warn(
          { taskId: member.taskId, reason: (error as Error).message },
          'a finish waits for Postgres',
        );
        await pause();
      }
    }
    return undefined;
  }

  private async finishAlone(member: FinishMember): Promise<Finish | undefined> {
    // Not on the few connections that claims and finishes share: this one may wait long.
    return (await finishTasks(this.database.main, [member], this.identity.actor, true)).get(member.taskId);
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
