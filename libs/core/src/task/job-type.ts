import type { z } from 'zod';
import type { JobFailure } from '../job/job-errors.js';
import { type Backoff, DEFAULT_BACKOFF } from './backoff.js';
import type { Json } from './clean-json.js';
import { checkedCrons } from '../schedule/declared-cron.js';
import type { DeclaredCron } from '../schedule/schedule.js';
import { type Duration, durationMs } from './duration.js';

/** The job as its handlers see it. */
export interface JobView<P = unknown> {
  readonly jobId: string;
  readonly type: string;
  readonly ownerId: string;
  readonly generation: number;
  readonly payload: P;
  /** The version of the payload: that of the type when the job was accepted. Never newer than the code that gets it. */
  readonly payloadVersion: number;
  readonly createdAt: Date;
}

/** The task of one attempt. */
export interface TaskView<T = unknown> {
  readonly taskId: string;
  /** Names the task within its job where the plan gave it a name. */
  readonly key: string | null;
  /** Counted from 0. */
  readonly position: number;
  /** 1 for the first execution. */
  readonly attempt: number;
  readonly payload: T;
  /** What an earlier attempt saved with `ctx.checkpoint`; undefined on a fresh start. */
  readonly checkpoint: Json | undefined;
}

/** A task that a plan yields. `key` is unique within the job, so that a plan run again adds nothing twice. */
export interface PlannedTask<T = unknown> {
  key: string;
  payload: T;
}

/** A database transaction that a handler takes part in. Values are given apart from the SQL, as $1, $2, … */
export interface Transaction {
  /** Runs a statement and answers its rows. */
  query<R>(sql: string, ...values: unknown[]): Promise<R[]>;
  /** Runs a statement and answers how many rows it touched. */
  execute(sql: string, ...values: unknown[]): Promise<number>;
}

/** What an attempt may do besides its work. */
export interface TaskContext<P = unknown> {
  /** Raised on cancel, timeout, a lost lease or the stop of the worker. */
  readonly signal: AbortSignal;
  readonly job: JobView<P>;
  readonly log: {
    info(message: string, fields?: object): void;
    warn(message: string, fields?: object): void;
  };
  /** Tells how far the task is, 0-100, with an optional small detail. Cheap: it is written a few times a second. */
  progress(percent: number, detail?: Json): void;
  /**
   * Saves where the task is; the next attempt finds it as `task.checkpoint`. Settled when committed.
   * In a plan, the tasks yielded so far are committed with it.
   */
  checkpoint(data: Json): Promise<void>;
  /**
   * Runs an effect on the database once for this task, however often the task is run: it is committed together with
   * a record of it under `key`, and only if this attempt still holds the task. A later attempt gets the first
   * result, and its effect is not run.
   */
  commit<R extends Json>(key: string, effect: (tx: Transaction) => Promise<R>): Promise<R>;
}

/** The results of a job's completed tasks, in order of position. */
export type TaskResults = AsyncIterable<{ taskId: string; key: string | null; result: Json | undefined }>;

/** What the Catalog learns of a job: the metadata, the record's id and the links. */
export interface CatalogEntry {
  id: string;
  metadata: { [key: string]: Json };
  /** Paths below the configured link base, one link each. */
  links: { name?: string; description?: string; path: string }[];
}

/** A job that has ended, as its exit hook sees it. It does not change any more. */
export interface ExitedJob<P = unknown> extends JobView<P> {
  readonly status: 'completed' | 'failed' | 'canceled';
  readonly result: Json | null;
  /** Why it failed; null unless it did. */
  readonly error: JobFailure | null;
  readonly finishedAt: Date;
}

/** What an exit hook may do besides its work. */
export interface ExitContext {
  /**
   * `<jobId>.<generation>`: names this end of the job, and is the same whenever the hook is run for it. What the hook
   * does elsewhere is done once if that takes a second call with the key for the first.
   */
  readonly key: string;
  /** Raised when the hook takes longer than a minute, when its turn is lost, and when the worker stops. */
  readonly signal: AbortSignal;
  readonly log: TaskContext['log'];
}

/** The code of a job type: one class in one file. */
export interface JobHandler<P = unknown, T = P> {
  /** Yields the job's tasks. Without it a job is one task with the job's payload. */
  plan?(
    job: JobView<P>,
    ctx: TaskContext<P> & { resumeFrom: Json | undefined },
  ): AsyncIterable<PlannedTask<T>>;
  /** Does the work of one task and returns its result. */
  run(task: TaskView<T>, ctx: TaskContext<P>): Promise<unknown>;
  /** The job's result, made once after the last task and before the Catalog is called. */
  summarize?(job: JobView<P>, results: TaskResults): Promise<Json>;
  /** The job's catalog entry, or undefined when the Catalog need not know. */
  catalog?(job: JobView<P>, result: Json | undefined): CatalogEntry | undefined;
  /**
   * Told when a job has ended, whatever way: once for each final end, after the Catalog, and when none of its attempts
   * runs any more. Run again, with the same `ctx.key`, only if its worker died or stopped meanwhile. An error of its
   * own is recorded and changes nothing. Whether a job has it is fixed when the job is accepted.
   */
  onJobExited?(job: ExitedJob<P>, ctx: ExitContext): Promise<unknown>;
}

/** The policies of a job type. */
export interface JobTypeOptions {
  /** Dotted lower-case words, such as `files.ingest`. */
  name: string;
  /** Schema of a job's payload; the API validates with it. */
  payload: z.ZodType;
  /** Executions of a task in all; default 3. */
  attempts?: number;
  backoff?: { kind: Backoff['kind']; base: Duration; cap: Duration };
  /** Limit of one attempt. */
  timeout?: Duration;
  /** Limit of a job from its start to the end of its last task. */
  maxRuntime?: Duration;
  /** Whether a task that was cut off can go on from its checkpoint; such a stop costs no attempt. Default false. */
  resumable?: boolean;
  /** How long a handler may take to stop when asked to, before its attempt is fenced without it; default 10s. */
  cancelGrace?: Duration;
  /** The capability that a worker must have. */
  tag?: string;
  /**
   * Whether one job of this type runs at a time, of whichever owner. `refuse` (or true): another one is refused while
   * one is open. `queue`: it waits until the one before has ended. Default false.
   */
  exclusive?: boolean | 'refuse' | 'queue';
  /** Tasks of this type that run at a time, over all workers. */
  concurrency?: number;
  /**
   * Tasks of this type that are let into their queue within any stretch of `per`, over all workers. There they begin as
   * soon as a worker has a slot: while all are busy, some may come to begin together.
   */
  rateLimit?: { max: number; per: Duration };
  /** The keys of labels by which its jobs can be listed, at most 5; each costs a row for every job that has it. */
  searchable?: string[];
  /**
   * The version of its payload, a whole number; default 1. A worker whose code has a lower one than the job leaves the
   * job to others, and one whose code has a higher one gets the older payload with its version.
   */
  version?: number;
  /**
   * Whether each attempt runs in a process of its own, which is killed when it does not stop within `cancelGrace`: for
   * code that may block, crash or take too much memory. Default false.
   */
  sandbox?: boolean;
  /** Schedules that make jobs of this type. The database has what the process says that was started last. */
  crons?: DeclaredCron[];
}

/** The policies with their defaults and durations in milliseconds. */
export interface JobTypePolicy {
  name: string;
  payload: z.ZodType;
  attempts: number;
  backoff: Backoff;
  timeoutMs: number | undefined;
  maxRuntimeMs: number | undefined;
  resumable: boolean;
  cancelGraceMs: number;
  tag: string | undefined;
  exclusive: 'refuse' | 'queue' | undefined;
  concurrency: number | undefined;
  rateLimit: { max: number; perMs: number } | undefined;
  searchable: readonly string[];
  version: number;
  sandbox: boolean;
  crons: readonly DeclaredCron[];
}

/** A class that carries `@JobType`. Its constructor's parameters are whatever the application injects. */
// oxlint-disable-next-line typescript/no-explicit-any -- neither any parameters nor any payloads can be said otherwise
export type JobTypeClass = new (...args: any[]) => JobHandler<any, any>;

const NAME = /^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*$/;
/** What the key of a label may be. */
export const LABEL_KEY = /^[A-Za-z][A-Za-z0-9_.-]{0,62}$/;
const MOST_SEARCHABLE = 5;
const TAG = /^[a-z][a-z0-9-]{0,39}$/;
const policies = new WeakMap<object, JobTypePolicy>();

/**
 * Makes a class a job type.
 * @throws {TypeError} at load, when a name, a tag or a number is out of range.
 */
export function JobType(options: JobTypeOptions): (target: JobTypeClass) => void {
  const attempts = options.attempts ?? 3;
  if (!NAME.test(options.name) || options.name.length > 100) {
    throw new TypeError(
      `Job type "${options.name}": a name is lower-case words with dots, at most 100 characters.`,
    );
  }
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > 100) {
    throw new TypeError(`Job type "${options.name}": attempts is a whole number from 1 to 100.`);
  }
  if (options.tag !== undefined && (!TAG.test(options.tag) || options.tag === 'default')) {
    throw new TypeError(`Job type "${options.name}": a tag is a lower-case word, and not "default".`);
  }
  const version = options.version ?? 1;
  if (!Number.isInteger(version) || version < 1 || version > 1_000_000) {
    throw new TypeError(`Job type "${options.name}": version is a whole number from 1 to 1000000.`);
  }
  const policy: JobTypePolicy = {
    name: options.name,
    payload: options.payload,
    attempts,
    backoff: options.backoff
      ? {
          kind: options.backoff.kind,
          baseMs: durationMs(options.backoff.base),
          capMs: durationMs(options.backoff.cap),
        }
      : DEFAULT_BACKOFF,
    timeoutMs: options.timeout === undefined ? undefined : limitMs(options.name, 'timeout', options.timeout),
    maxRuntimeMs:
      options.maxRuntime === undefined ? undefined : limitMs(options.name, 'maxRuntime', options.maxRuntime),
    resumable: options.resumable ?? false,
    cancelGraceMs: durationMs(options.cancelGrace ?? '10s'),
    tag: options.tag,
    exclusive: options.exclusive === true ? 'refuse' : options.exclusive || undefined,
    concurrency:
      options.concurrency === undefined
        ? undefined
        : checkedCount(options.name, 'concurrency', options.concurrency),
    rateLimit: options.rateLimit && {
      max: checkedCount(options.name, 'rateLimit.max', options.rateLimit.max),
      perMs: limitMs(options.name, 'rateLimit.per', options.rateLimit.per),
    },
    searchable: checkedKeys(options.name, options.searchable ?? []),
    version,
    sandbox: options.sandbox ?? false,
    crons: checkedCrons(options.name, options.crons ?? []),
  };
  return (target) => {
    policies.set(target, policy);
  };
}

/** Limits go up to 24 days: no timer of Node is longer. */
const LONGEST_LIMIT_MS = 24 * 86_400_000;

function limitMs(type: string, name: string, duration: Duration): number {
  const ms = durationMs(duration);
  if (ms >= 1 && ms <= LONGEST_LIMIT_MS) return ms;
  throw new TypeError(`Job type "${type}": ${name} is a duration from 1ms to 24d.`);
}

function checkedKeys(type: string, keys: string[]): string[] {
  const right = keys.length <= MOST_SEARCHABLE && new Set(keys).size === keys.length;
  if (right && keys.every((key) => LABEL_KEY.test(key))) return keys;
  throw new TypeError(
    `Job type "${type}": searchable has at most ${MOST_SEARCHABLE} keys: a letter, then letters, digits, "_", "." and "-".`,
  );
}

function checkedCount(type: string, name: string, count: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= 1_000_000) return count;
  throw new TypeError(`Job type "${type}": ${name} is a whole number from 1 to 1000000.`);
}

/** The policies of a class, or undefined when it carries no `@JobType`. */
export function jobTypePolicy(target: object): JobTypePolicy | undefined {
  return policies.get(target);
}
