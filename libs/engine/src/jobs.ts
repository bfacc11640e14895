import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  DuplicateJobError,
  IdempotencyMismatchError,
  InvalidJobError,
  type Job,
  type JobInput,
  type JobStatus,
  QuotaExceededError,
  type Submitter,
  type TaskSummary,
} from '@app/core';
import { CONFIG } from '@app/platform/config/config.module.js';
import type { Config } from '@app/platform/config/config.js';
import { Database } from '@app/platform/prisma/database.js';
import { CancelBus } from './cancellation/cancel-bus.js';
import { LivePoke } from './live/live-poke.js';
import { AdmissionPoke } from './queue/admission-poke.js';
import { Quotas } from './quotas.js';
import { QueueRoom } from './queue/queue-room.js';
import { TaskSender } from './queue/task-sender.js';
import { JobTypeRegistry } from './registry/job-type-registry.js';
import {
  type CheckedJob,
  checkJob,
  dedupeOf,
  EXPIRES_BEFORE_DUE,
  type JobRules,
  jobRulesOf,
} from './registry/check-job.js';
import { type Acceptance, acceptJobs, type NewJob } from './store/accept-jobs.js';
import { AcceptLanes } from './store/accept-lanes.js';
import { type KeyUse, lookUpKey } from './store/idempotency-keys.js';
import { cancelJob } from './store/cancel-job.js';
import { type JobPage, JobQueries, newJobView } from './store/job-queries.js';
import { type EventCursor, type LedgerEvent, readLedger } from './store/read-ledger.js';
import type { JobCursor, JobFilter } from './store/listed-jobs.js';
import { type Resolution, resolveJob } from './store/resolve-job.js';
import { retryJob } from './store/retry-job.js';
import { rescheduleJob } from './store/timed-jobs.js';
import { inside, type JoinedTransaction } from './store/joined-transaction.js';
import { newId } from './store/new-id.js';

/** Submits, reads and cancels jobs, always for an owner. */
@Injectable()
export class Jobs {
  private readonly accepts: AcceptLanes;
  private readonly rules: JobRules;

  constructor(
    private readonly types: JobTypeRegistry,
    private readonly queries: JobQueries,
    private readonly sender: TaskSender,
    private readonly room: QueueRoom,
    private readonly poke: AdmissionPoke,
    private readonly bus: CancelBus,
    private readonly live: LivePoke,
    private readonly database: Database,
    private readonly quotas: Quotas,
    @Inject(CONFIG) private readonly config: Config,
  ) {
    this.rules = jobRulesOf(config);
    this.accepts = new AcceptLanes(this.database.main, () => this.sender.incarnation);
  }

  /**
   * Accepts a job: when this resolves, it is committed. `replayed`: the idempotency key was used before by the same
   * input, and the job is the earlier one.
   * @throws {InvalidJobError} when the input cannot be accepted; {IdempotencyMismatchError} when the key came with
   * another input; {DuplicateJobError} when an open job holds its key; {QuotaExceededError} when the owner has too much
   * open, but not within a transaction of the caller. Nothing is written then.
   * @param options.tx an open transaction of the caller that the job joins: it is there, and runs, if that commits. What
   * is thrown of the above leaves the transaction as it was.
   */
  async submit(
    input: JobInput,
    by: Submitter,
    options: { idempotencyKey?: string; tx?: JoinedTransaction } = {},
  ): Promise<{ job: Job; replayed: boolean }> {
    const { idempotencyKey: key } = options;
    const tx = options.tx && inside(options.tx);
    const idempotency = key === undefined ? null : { key, bodyHash: hashOf(input) };
    let checked: CheckedJob;
    try {
      checked = await checkJob(input, this.types, this.rules);
    } catch (error) {
      // It may have been accepted before its time had passed, or before its type was changed.
      if (!idempotency || !(error instanceof InvalidJobError)) throw error;
      const earlier = await lookUpKey(tx ?? this.database.main, by.ownerId, idempotency);
      if (!earlier) throw error;
      return this.replay(input, by, earlier, tx);
    }
    const job: NewJob = {
      ...checked,
      jobId: newId(),
      ownerId: by.ownerId,
      actor: by.actor,
      idempotency,
      dedupe: dedupeOf(this.types, input, by.ownerId),
      direct: tx ? 0 : this.directly(checked),
    };
    // Inside a transaction of the caller it is alone, and held: nobody tells when that commits.
    const accepted = tx
      ? ((await acceptJobs(tx, [job], this.sender.incarnation))[0] as Acceptance)
      : await this.acceptWithin(job);
    if (accepted.kind === 'duplicate') throw await this.duplicate(by.ownerId, accepted.jobId, tx);
    if (accepted.kind === 'accepted') {
      this.live.poke();
      const { queue, units, direct } = job;
      this.sender.sendSoon(
        units.slice(0, direct).map(({ taskId, kind }) => ({ taskId, kind, queue, epoch: 1 })),
      );
      if (direct < units.length && job.runAt === null) this.poke.poke();
      return { job: newJobView(job, accepted.createdAt), replayed: false };
    }
    return this.replay(input, by, accepted, tx);
  }

  /** Whose a job is, for an administrator who acts for its owner. The only thing that is told to anybody who asks. */
  ownerOf(jobId: string): Promise<string | undefined> {
    return this.queries.ownerOf(jobId);
  }

  /** One job, or undefined when the owner has none of that id. */
  find(ownerId: string, jobId: string): Promise<Job | undefined> {
    return this.queries.find(ownerId, jobId);
  }

  /**
   * The owner's jobs that a filter lets through, newest first, after a cursor.
   * @throws {ListTooWideError} when too many would have to be looked at, as with two filters that hardly a job fits both of
   */
  page(ownerId: string, page: { limit: number; filter?: JobFilter; after?: JobCursor }): Promise<JobPage> {
    return this.queries.page(ownerId, page.limit, page.filter, page.after);
  }

  /**
   * The jobs of all owners that a filter lets through, for an administrator: newest first, after a cursor.
   * @throws {ListTooWideError}
   */
  pageOfAll(page: { limit: number; filter?: JobFilter; after?: JobCursor }): Promise<JobPage> {
    return this.queries.pageOfAll(page.limit, page.filter, page.after);
  }

  /** The ledger of a job after a cursor, oldest first, or undefined when the owner has no such job. */
  events(
    ownerId: string,
    jobId: string,
    page: { limit: number; after?: EventCursor },
  ): Promise<LedgerEvent[] | undefined> {
    return readLedger(this.database.main, ownerId, jobId, page.limit, page.after);
  }

  /** The tasks of a job in order of position, or undefined when the owner has no such job. */
  tasks(
    ownerId: string,
    jobId: string,
    page: { limit: number; after?: number },
  ): Promise<TaskSummary[] | undefined> {
    return this.queries.tasks(ownerId, jobId, page.limit, page.after ?? -1);
  }

  /**
   * Cancels a job. From the answer on it is canceled, whatever its attempts still do; a repeat gives the first
   * answer. `refused`: it has ended otherwise, or is being finalized. Undefined when the owner has no such job.
   */
  async cancel(
    ownerId: string,
    jobId: string,
    by: { actor: string; reason?: string },
  ): Promise<{ kind: 'canceled'; job: Job } | { kind: 'refused'; status: JobStatus } | undefined> {
    const canceled = await cancelJob(this.database.main, ownerId, jobId, by);
    if (!canceled) return undefined;
    if (canceled.kind === 'refused') return canceled;
    this.live.poke();
    // Published first, and not waited for: the row is committed, so the message is only for speed. With the id as it is
    // stored, for whoever asks may have written it in capitals.
    if (canceled.kind === 'canceled') {
      void this.bus.publish({ jobId: canceled.jobId, generation: canceled.generation });
    }
    const job = await this.queries.find(ownerId, jobId);
    return job && { kind: 'canceled', job };
  }

  /**
   * Moves a job that is still scheduled to another time. `refused`: it is no longer scheduled. Undefined when the
   * owner has no such job.
   * @throws {InvalidJobError} when the time has passed, or is not before the job expires.
   */
  async reschedule(ownerId: string, jobId: string, runAt: Date, by: { actor: string }) {
    if (runAt.getTime() <= Date.now()) {
      throw new InvalidJobError([{ pointer: '/runAt', message: 'This time has passed.' }]);
    }
    const moved = await rescheduleJob(this.database.main, ownerId, jobId, runAt, by.actor);
    if (moved?.kind === 'expires-before') {
      throw new InvalidJobError([{ pointer: '/runAt', message: EXPIRES_BEFORE_DUE }]);
    }
    this.live.poke();
    return moved?.kind === 'rescheduled' ? this.answer('rescheduled', ownerId, jobId) : moved;
  }

  /**
   * Runs again what did not complete of a failed or canceled job, in a new generation. `refused`: it has not ended,
   * or is completed. `exiting`: its exit hook has not been run to its end. Undefined when the owner has no such job.
   * @throws {DuplicateJobError} when an open job holds its key.
   */
  async retry(ownerId: string, jobId: string, by: { actor: string }) {
    const retried = await retryJob(this.database.main, ownerId, jobId, by);
    if (retried?.kind === 'duplicate') throw await this.duplicate(ownerId, retried.jobId);
    if (retried?.kind !== 'retried') return retried;
    this.poke.poke();
    this.live.poke();
    return this.answer('retried', ownerId, jobId);
  }

  /**
   * Ends a job of any owner that is being finalized, for an administrator. `refused`: it is not. Undefined when there is
   * no such job.
   */
  async resolve(jobId: string, resolution: Resolution, by: { actor: string }) {
    const resolved = await resolveJob(this.database.main, jobId, resolution, by.actor);
    this.live.poke();
    return resolved?.kind === 'resolved' ? this.answer('resolved', resolved.ownerId, jobId) : resolved;
  }

  /** A type that runs one job at a time may be held by somebody else, of whose jobs nothing is told. */
  private async duplicate(
    ownerId: string,
    jobId: string,
    tx?: ReturnType<typeof inside>,
  ): Promise<DuplicateJobError> {
    return new DuplicateJobError((await this.queries.find(ownerId, jobId, tx)) && jobId);
  }

  /** The job of a key as it is now; one that retention has deleted is shown as it was accepted, which the same body tells. */
  private async replay(
    input: JobInput,
    by: Submitter,
    earlier: KeyUse,
    tx?: ReturnType<typeof inside>,
  ): Promise<{ job: Job; replayed: true }> {
    if (earlier.kind === 'mismatch') throw new IdempotencyMismatchError();
    const { jobId, createdAt } = earlier;
    const job = await this.queries.find(by.ownerId, jobId, tx);
    if (job) return { job, replayed: true };
    const then = await checkJob(input, this.types, this.rules, createdAt.getTime());
    return {
      job: newJobView({ ...then, jobId, ownerId: by.ownerId, actor: by.actor }, createdAt),
      replayed: true,
    };
  }

  private async answer<K extends string>(kind: K, ownerId: string, jobId: string) {
    const job = await this.queries.find(ownerId, jobId);
    return job && { kind, job };
  }

  /** How many of a job's tasks are sent as soon as they are accepted: none that a limit may have to hold back. */
  private directly({ type, queue, runAt, units }: CheckedJob): number {
    const limited = this.types.isLimited(type) || this.config.MAX_ACTIVE_PER_OWNER !== undefined;
    return limited || runAt !== null ? 0 : this.room.take(queue, units.length);
  }

  /** Accepts a job if its owner may have more open. One that was accepted before is no more. */
  private async acceptWithin(job: NewJob): Promise<Acceptance> {
    const tasks = job.units.filter((unit) => unit.kind === 'task').length;
    try {
      const { acceptance } = await this.quotas.within(job.ownerId, tasks, async () => {
        const acceptance = await this.accepts.add(job);
        return { acceptance, accepted: acceptance.kind === 'accepted' };
      });
      return acceptance;
    } catch (error) {
      const { ownerId, idempotency } = job;
      if (!idempotency || !(error instanceof QuotaExceededError)) throw error;
      const earlier = await lookUpKey(this.database.main, ownerId, idempotency);
      if (!earlier) throw error;
      return earlier;
    }
  }
}

/** Equal for equal inputs, whatever the order of their keys. */
function hashOf(input: JobInput): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(input)))
    .digest('hex');
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  // JSON makes texts of dates, which have no keys of their own.
  if (value === null || typeof value !== 'object' || value instanceof Date) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, part]) => [key, sorted(part)]));
}
