import { Inject, Injectable } from '@nestjs/common';
import { errorMessage, type ExitContext, type ExitedJob } from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { hiderOf } from '@app/platform/config/log-rules.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { isOutage } from '@app/platform/prisma/sql-errors.js';
import { EngineMetrics } from '../execution/engine-metrics.js';
import { inTime } from '../execution/in-time.js';
import { outagePause } from '../execution/outage-pause.js';
import { WorkerIdentity } from '../execution/worker-identity.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import { type DueExit, endExit, type ExitType, renewExit, takeDueExits } from '../store/exit-hooks.js';
import { passByStrangeExits } from '../store/strange-exits.js';
import { ExitTurnSignal } from './exit-turn-signal.js';

/** Exit hooks at a time in one process. */
const AT_ONCE = 8;
/** How long a hook may take, in milliseconds. */
const LIMIT_MS = 60_000;
/**
 * What this process has no code for is left to others for a while, and less often each time; many may begin at once when
 * a type was taken out of the code.
 */
const STRANGE = { dueMs: 30_000, pauseMs: 30_000, passes: 3, most: 1000 };
/** The grace of a type that this process no longer has. */
const GRACE_MS = 10_000;

/**
 * Runs the exit hooks of jobs that have ended. Each is claimed in Postgres, so any number of processes do this side by
 * side, and one that dies leaves its hooks to the others. A hook whose code has failed is not run again.
 */
@Injectable()
export class ExitRunner {
  /** Takes the secrets out of what is stored of an error. */
  private readonly hide: (text: string) => string;
  private readonly types: ExitType[];
  private readonly stopping = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private started = false;
  private looking: Promise<void> | undefined;
  private again = false;

  constructor(
    private readonly database: Database,
    private readonly registry: JobTypeRegistry,
    private readonly identity: WorkerIdentity,
    private readonly metrics: EngineMetrics,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.hide = hiderOf(config);
    // A cancel is known of within a lease; one more for a worker that cannot reach Postgres and gives up by itself.
    this.types = registry.names.map((name) => ({
      name,
      version: registry.find(name)?.version ?? 1,
      graceMs: this.graceOf(name) + 2 * config.LEASE,
    }));
  }

  start(): void {
    this.started = true;
  }

  /** No hook begins any more; those that run are asked to stop, and are handed back unless they end by themselves. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.looking;
    // What hangs beyond the grace is left to others when its turn is over.
    const ends = Promise.all(this.running);
    await inTime(ends, this.config.SHUTDOWN_GRACE, 'an exit hook hangs').catch(() => {});
  }

  /** Says that the exit of some job may be due. Costs nothing where no job type has a hook. */
  poke(): void {
    if (this.types.some(({ name }) => this.registry.find(name)?.hasExitHook)) void this.look();
  }

  /** One look for what is due, or another one after that which is under way. Never rejects. */
  look(): Promise<void> {
    if (!this.started || this.stopping.signal.aborted) return Promise.resolve();
    this.again = this.looking !== undefined;
    this.looking ??= this.take()
      .catch((error: Error) => this.logger.warn({ reason: error.message }, 'exits were not looked for'))
      .finally(() => {
        this.looking = undefined;
        if (this.again) void this.look();
      });
    return this.looking;
  }

  /** Sees to the exits whose job type this process lacks; they are ended when no worker has had it for FINALIZE_LIMIT. */
  async passBy(): Promise<void> {
    if (!this.started || this.stopping.signal.aborted) return;
    const policy = { ...STRANGE, limitMs: this.config.FINALIZE_LIMIT };
    for (const jobId of await passByStrangeExits(this.database.main, this.types, policy)) {
      this.metrics.exits.inc({ result: 'given-up' });
      this.logger.error({ jobId }, 'an exit was ended unrun: no worker had the job type, or its version');
    }
  }

  /** Takes as many as there is room for. */
  private async take(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      const room = AT_ONCE - this.running.size;
      if (room === 0) return;
      const due = await takeDueExits(this.database.main, this.types, room, this.config.LEASE);
      for (const exit of due) this.begin(exit);
      if (due.length < room) return;
    }
  }

  private begin(exit: DueExit): void {
    const { jobId } = exit;
    const work = this.turn(exit)
      .catch((error: Error) =>
        this.logger.warn({ jobId, reason: error.message }, 'an exit is left to others'),
      )
      .finally(() => {
        this.running.delete(work);
        void this.look();
      });
    this.running.add(work);
  }

  /** Runs one hook and records that. A turn that is lost, or that ends with the process, leaves it to another one. */
  private async turn(exit: DueExit): Promise<void> {
    const renew = () => renewExit(this.database.main, exit, this.config.LEASE);
    const turn = new ExitTurnSignal(this.config.LEASE, LIMIT_MS, this.stopping.signal, renew);
    try {
      const failure = await this.runHook(exit, turn);
      if (failure !== undefined && (turn.ended === 'lost' || turn.ended === 'stop')) {
        if (failure.settled && turn.ended === 'stop') await renewExit(this.database.main, exit, 0);
        return;
      }
      await this.record(exit, failure === undefined ? null : failure.message);
    } finally {
      turn.close();
    }
  }

  /** What went wrong, or undefined. `settled`: nothing of the hook runs any more. */
  private async runHook(
    exit: DueExit,
    turn: ExitTurnSignal,
  ): Promise<{ message: string; settled: boolean } | undefined> {
    const handler = this.registry.handlerOf(exit);
    if (!handler?.onJobExited) return undefined;
    const late = `The exit hook did not end within ${LIMIT_MS / 1000} s.`;
    let settled = false;
    const hook = async () => {
      try {
        await handler.onJobExited?.(exitedJob(exit), this.context(exit, turn.signal));
      } finally {
        settled = true;
      }
    };
    try {
      await turn.within(hook(), this.graceOf(exit.type));
      return undefined;
    } catch (error) {
      return { message: turn.ended === 'limit' ? late : this.hide(errorMessage(error)), settled };
    }
  }

  private context(exit: DueExit, signal: AbortSignal): ExitContext {
    const logger = this.logger.child({ jobId: exit.jobId });
    return {
      key: `${exit.jobId}.${exit.generation}`,
      signal,
      log: {
        info: (message, fields = {}) => logger.info(fields, message),
        warn: (message, fields = {}) => logger.warn(fields, message),
      },
    };
  }

  /** The hook was run: that is written as long as this process lives, or it would be run once more for an outage. */
  private async record(exit: DueExit, failure: string | null): Promise<void> {
    const { jobId } = exit;
    if (failure !== null) this.logger.warn({ jobId, reason: failure }, 'an exit hook has failed');
    for (const pause = outagePause(); ;) {
      try {
        const written = await endExit(this.database.main, exit, this.identity.actor, failure);
        if (written) this.metrics.exits.inc({ result: failure === null ? 'done' : 'failed' });
        return;
      } catch (error) {
        if (!isOutage(error) || this.stopping.signal.aborted) throw error;
        await pause();
      }
    }
  }

  private graceOf(type: string): number {
    return this.registry.find(type)?.cancelGraceMs ?? GRACE_MS;
  }
}

function exitedJob(exit: DueExit): ExitedJob {
  const { epoch: _epoch, ...job } = exit;
  return job;
}
