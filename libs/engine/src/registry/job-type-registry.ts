import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import {
  type DeclaredCron,
  type JobHandler,
  type JobTypeClass,
  type JobTypePolicy,
  jobTypePolicy,
} from '@app/core';
import { DEFAULT_QUEUE } from '../store/dispatch.js';
import type { TypeLimits } from '../store/type-limits.js';
import { notifyIssues } from './check-notify.js';

/** Injection token of the classes with `@JobType`. */
export const JOB_TYPES = Symbol('JOB_TYPES');

/** What a handler can do beside `run`; known without making an instance of it. */
export interface RegisteredJobType extends JobTypePolicy {
  readonly hasPlan: boolean;
  /** Whether there is work after the last task: a result to make, or a Catalog to tell. */
  readonly hasFinalization: boolean;
  readonly hasCatalog: boolean;
  /** Whether something runs when a job has ended. */
  readonly hasExitHook: boolean;
}

/** The job types of this process, by name. */
@Injectable()
export class JobTypeRegistry {
  private readonly types: Map<string, RegisteredJobType & { class: JobTypeClass }>;
  /** What each type allows over all workers. */
  readonly limits: ReadonlyMap<string, TypeLimits>;

  constructor(
    @Inject(JOB_TYPES) classes: JobTypeClass[],
    private readonly modules: ModuleRef,
  ) {
    this.types = new Map(classes.map((type) => [policyOf(type).name, { ...describe(type), class: type }]));
    this.limits = new Map([...this.types].map(([name, type]) => [name, limitsOf(type)]));
  }

  get names(): string[] {
    return [...this.types.keys()].toSorted();
  }

  /** The version of each type, by name. */
  get versions(): Record<string, number> {
    return Object.fromEntries([...this.types.values()].map(({ name, version }) => [name, version]));
  }

  /** The tags that some job type declares. */
  get tags(): string[] {
    const declared = [...this.types.values()].flatMap(({ tag }) => tag ?? []);
    return [...new Set(declared)].toSorted();
  }

  /** The keys of labels that some job type declares searchable. */
  get searchable(): string[] {
    const declared = [...this.types.values()].flatMap(({ searchable }) => searchable);
    return [...new Set(declared)].toSorted();
  }

  /** The schedules that job types declare. */
  get crons(): { type: string; cron: DeclaredCron }[] {
    return [...this.types.values()].flatMap(({ name, crons }) => crons.map((cron) => ({ type: name, cron })));
  }

  /** The policies of a type, or undefined for an unknown one. */
  find(name: string): RegisteredJobType | undefined {
    return this.types.get(name);
  }

  /** Whether tasks of a type have to be admitted one by one, for there may be fewer of them than could run. */
  isLimited(name: string): boolean {
    const limits = this.limits.get(name);
    return (
      limits !== undefined &&
      (limits.concurrency ?? limits.rate ?? (limits.oneByOne || undefined)) !== undefined
    );
  }

  /** The code for a job, or undefined when its type is unknown here, or its payload newer than the code. */
  handlerOf(job: { type: string; payloadVersion: number }): JobHandler<unknown, unknown> | undefined {
    const type = this.types.get(job.type);
    if (!type || type.version < job.payloadVersion) return undefined;
    return this.modules.get<JobHandler<unknown, unknown>>(type.class, { strict: false });
  }
}

/** The names of all queues that a set of job types needs. */
export function queuesOf(classes: JobTypeClass[]): string[] {
  return [...new Set([DEFAULT_QUEUE, ...classes.map((type) => queueOf(policyOf(type)))])];
}

/** The queue of tasks that ask for a tag, or for none. */
export function queueOf({ tag }: { tag: string | undefined }): string {
  return tag ?? DEFAULT_QUEUE;
}

/**
 * The policies of a class.
 * @throws {TypeError} when it carries no `@JobType`.
 */
export function policyOf(type: JobTypeClass): JobTypePolicy {
  const policy = jobTypePolicy(type);
  if (!policy) throw new TypeError(`The class ${type.name} has no @JobType.`);
  return policy;
}

function limitsOf({ concurrency, rateLimit, exclusive }: JobTypePolicy): TypeLimits {
  return { concurrency, rate: rateLimit, oneByOne: exclusive === 'queue' };
}

function describe(type: JobTypeClass): RegisteredJobType {
  const handler = type.prototype as Partial<JobHandler>;
  const hasCatalog = handler.catalog !== undefined;
  const policy = policyOf(type);
  const [wrong] = notifyIssues(policy.notify);
  if (wrong) throw new TypeError(`Job type "${policy.name}": ${wrong.pointer.slice(1)}: ${wrong.message}`);
  return {
    ...policy,
    hasPlan: handler.plan !== undefined,
    hasCatalog,
    hasExitHook: handler.onJobExited !== undefined,
    hasFinalization: hasCatalog || handler.summarize !== undefined,
  };
}
