import { Inject, Injectable } from '@nestjs/common';
import {
  backoffMs,
  type CatalogEntry,
  cleanJson,
  cleanResult,
  DEFAULT_BACKOFF,
  errorMessage,
  type JobFailure,
  type JobHandler,
  type JobView,
  type Json,
  PermanentError,
  type TaskResults,
} from '@app/core';
import type { CatalogClient } from '@app/platform/catalog/catalog-client.js';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { hiderOf } from '@app/platform/config/log-rules.js';
import { type Logger, LOGGER } from '@app/platform/observability/logger.js';
import { Database } from '@app/platform/prisma/database.js';
import { inTime } from '../execution/in-time.js';
import { LivePoke } from '../live/live-poke.js';
import { EngineMetrics } from '../execution/engine-metrics.js';
import { WorkerIdentity } from '../execution/worker-identity.js';
import { JobTypeRegistry } from '../registry/job-type-registry.js';
import {
  completedResults,
  countCatalogCall,
  countOwnFailure,
  noteCircuit,
  type DueFinalization,
  endFinalization,
  postponeFinalization,
  storeCatalogCall,
} from '../store/finalization.js';
import { CATALOG } from './catalog.provider.js';
import { catalogBody, isOurRecord } from './catalog-body.js';
import { CircuitBreaker } from './circuit-breaker.js';
import { SchedulePoke } from '../schedules/schedule-poke.js';
import { ExitRunner } from './exit-runner.js';

/** Failures of a job's own summarize or catalog that fail the job. */
const OWN_FAILURES = 3;
/** How long they may take together. */
const OWN_LIMIT_MS = 60_000;
const OWN_LATE = `The result was not made within ${OWN_LIMIT_MS / 1000} s.`;
/** A job whose type this process lacks is left to others. */
const UNKNOWN_TYPE_PAUSE_MS = 5000;
/** POSTs of a record that is said to be there and is not seen, before that counts as a no. Readers may lag behind. */
const UNSEEN_TRIES = 4;
const CONFLICT = 409;
const PAGE = 500;

type Call = NonNullable<DueFinalization['call']>;

/**
 * Does what is left of a job after its last task: makes its result, tells the Catalog, and only then completes it.
 * What is posted is stored before the first POST and never changes; an outcome that is not known is asked for
 * before anything is posted again.
 */
@Injectable()
export class Finalizer {
  /** Takes the secrets out of what is stored of an error. */
  private readonly hide: (text: string) => string;
  private readonly breaker = new CircuitBreaker();

  constructor(
    private readonly database: Database,
    private readonly types: JobTypeRegistry,
    private readonly identity: WorkerIdentity,
    private readonly metrics: EngineMetrics,
    private readonly exits: ExitRunner,
    private readonly live: LivePoke,
    private readonly schedules: SchedulePoke,
    @Inject(CATALOG) private readonly catalog: CatalogClient,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.hide = hiderOf(config);
  }

  /** How many calls of the Catalog make sense at this moment; jobs that need none do not look at it. */
  get room(): 'any' | 'one' | 'none' {
    return this.breaker.room;
  }

  /** One turn for one job. Never rejects: what goes wrong is noted and tried again. */
  async finalize(job: DueFinalization, signal: AbortSignal): Promise<void> {
    try {
      await this.turn(job, signal);
    } catch (error) {
      this.breaker.released();
      this.logger.warn({ jobId: job.jobId, reason: (error as Error).message }, 'a finalization waits');
      await this.postpone(job, this.hide(errorMessage(error))).catch(() => {});
    }
  }

  private async turn(job: DueFinalization, signal: AbortSignal): Promise<void> {
    let { call } = job;
    if (!call) {
      const prepared = await this.prepare(job);
      if (prepared === 'over') return;
      call = prepared;
    }
    if (!call) return this.end(job, null);
    if (!this.breaker.allow()) return this.wait(job);
    const body = JSON.parse(call.body) as { [key: string]: Json };
    const inDoubt = call.attempts > 0;
    if (inDoubt && (await this.ask(job, body, signal)) === 'over') return;
    if (!(await countCatalogCall(this.database.main, job))) return this.breaker.released();
    const answer = await this.catalog.post(call.body, call.key, signal);
    this.metrics.catalogAnswers.inc({ answer: answer.kind });
    this.judge(answer.kind !== 'unknown');
    switch (answer.kind) {
      case 'accepted':
        return this.end(job, null);
      case 'rejected': {
        // The no may be to a record that an earlier call has written: only who asks knows whose it is.
        const seen = inDoubt && (await this.ask(job, body, signal));
        if (seen === 'over') return;
        if (seen === 'absent' && answer.status === CONFLICT && call.attempts < UNSEEN_TRIES)
          return this.postpone(job, answer.message);
        return this.end(job, { code: 'catalog_rejected', message: answer.message });
      }
      case 'unknown':
        return this.postpone(job, answer.reason, answer.retryAfterMs);
    }
  }

  /** Asks whose record is there. `over`: the turn has ended, for it is ours or that could not be told. */
  private async ask(
    job: DueFinalization,
    body: { [key: string]: Json },
    signal: AbortSignal,
  ): Promise<'absent' | 'of others' | 'over'> {
    const finding = await this.catalog.find(String(body['id']), signal);
    this.judge(!('unknown' in finding));
    if ('absent' in finding) return 'absent';
    if ('unknown' in finding) await this.postpone(job, finding.unknown, finding.retryAfterMs);
    else if (isOurRecord(finding.found, body)) await this.end(job, null);
    else return 'of others';
    return 'over';
  }

  /** Tells the breaker whether the Catalog has answered. */
  private judge(answered: boolean): void {
    const before = this.breaker.state;
    if (answered) this.breaker.succeeded();
    else this.breaker.failed();
    const { state } = this.breaker;
    this.metrics.circuit.set(['closed', 'half-open', 'open'].indexOf(state));
    if (state !== before && state !== 'half-open')
      this.logger.warn({ state }, 'the circuit of the Catalog changed');
    if (state === 'open' || before !== 'closed') this.tellCircuit(state === 'open' ? this.breaker.waitMs : 0);
  }

  /** For those who ask why a job waits; nothing is decided by it. */
  private tellCircuit(openMs: number): void {
    noteCircuit(this.database.main, openMs).catch((error: Error) =>
      this.logger.debug({ reason: error.message }, 'the state of the circuit was not noted'),
    );
  }

  /** The Catalog is spared for now: nothing was asked of it, and nothing is known anew. */
  private async wait(job: DueFinalization): Promise<void> {
    await postponeFinalization(this.database.main, job, this.breaker.waitMs, 'The Catalog does not answer.');
  }

  /** Computes and stores what will be posted. Null: nothing will. `over`: the turn has ended. */
  private async prepare(job: DueFinalization): Promise<Call | null | 'over'> {
    const handler = this.types.handlerOf(job);
    if (!handler) {
      await postponeFinalization(
        this.database.main,
        job,
        UNKNOWN_TYPE_PAUSE_MS,
        'This worker lacks the job type, or its version.',
      );
      return 'over';
    }
    let made: { result: Json | undefined; entry: CatalogEntry | undefined };
    try {
      // It has no signal, and one that never ends must not keep a place among the few at a time.
      made = await inTime(this.compute(job, handler), OWN_LIMIT_MS, OWN_LATE);
    } catch (error) {
      await this.failOwn(job, error);
      return 'over';
    }
    const { result, entry } = made;
    const call = entry && {
      key: `${job.jobId}.${job.generation}`,
      body: JSON.stringify(catalogBody(entry, this.config)),
      attempts: 0,
    };
    const stored = await storeCatalogCall(this.database.main, job, call ?? null, result);
    return stored ? (call ?? null) : 'over';
  }

  /** The job's own code has failed: for good, or it is tried again. */
  private async failOwn(job: DueFinalization, error: unknown): Promise<void> {
    const failures = await countOwnFailure(this.database.main, job);
    if (failures === undefined) return;
    const message = this.hide(errorMessage(error));
    if (error instanceof PermanentError || failures >= OWN_FAILURES)
      return this.end(job, { code: 'handler_error', message });
    this.logger.warn({ jobId: job.jobId, reason: message }, 'a finalization has failed');
    await this.postpone(job, message, 0, failures);
  }

  private async compute(job: DueFinalization, handler: JobHandler<unknown, unknown>) {
    const view: JobView = {
      jobId: job.jobId,
      type: job.type,
      ownerId: job.ownerId,
      generation: job.generation,
      payload: job.payload,
      payloadVersion: job.payloadVersion,
      createdAt: job.createdAt,
    };
    const result = cleanResult(await handler.summarize?.(view, this.results(job.jobId)));
    const entry = handler.catalog?.(view, result);
    if (job.catalog === null) return { result, entry: entry && clean(entry) };
    const bare: CatalogEntry = { id: job.jobId, metadata: {}, links: [{ path: job.jobId }] };
    return { result, entry: clean({ ...(entry ?? bare), metadata: job.catalog }) };
  }

  private async *results(
    jobId: string,
  ): TaskResults extends AsyncIterable<infer R> ? AsyncGenerator<R> : never {
    for (let after = -1; ;) {
      const page = await completedResults(this.database.main, jobId, after, PAGE);
      for (const { taskId, key, result } of page) yield { taskId, key, result: result ?? undefined };
      const last = page.at(-1);
      if (!last || page.length < PAGE) return;
      after = last.position;
    }
  }

  private async end(job: DueFinalization, error: JobFailure | null): Promise<void> {
    const ended = await endFinalization(this.database.main, job, this.identity.actor, error);
    if (ended) {
      this.exits.poke();
      this.live.poke();
      this.schedules.jobEnded();
    }
    if (ended && error)
      this.logger.warn({ jobId: job.jobId, code: error.code }, 'a job failed while it was finalized');
  }

  private async postpone(
    job: DueFinalization,
    reason: string,
    retryAfterMs = 0,
    tries = job.call?.attempts ?? 1,
  ): Promise<void> {
    // The first pause is short: most unknown outcomes are a lost reply, and asking is cheap.
    const delayMs = Math.max(retryAfterMs, 100 + backoffMs(DEFAULT_BACKOFF, Math.max(1, tries)));
    this.logger.info({ jobId: job.jobId, reason, delayMs }, 'a finalization goes on later');
    await postponeFinalization(this.database.main, job, delayMs, reason);
  }
}

function clean(entry: CatalogEntry): CatalogEntry {
  return { ...entry, metadata: cleanJson(entry.metadata) as { [key: string]: Json } };
}
