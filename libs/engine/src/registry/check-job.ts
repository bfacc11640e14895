import {
  cleanJson,
  cleanText,
  InvalidJobError,
  type JobInput,
  type Json,
  LABEL_KEY,
  rankOf,
} from '@app/core';
import type { NewJob } from '../store/accept-jobs.js';
import type { DedupeKey } from '../store/dedupe-keys.js';
import type { Config } from '@app/platform/config/config.js';
import { checkNotify, type NotifyDefaults, notifyDefaultsOf } from './check-notify.js';
import { type JobTypeRegistry, queueOf, type RegisteredJobType } from './job-type-registry.js';
import { newId } from '../store/new-id.js';

/** Tasks that may come with a submit; a plan may yield more. */
export const MOST_SUBMITTED_TASKS = 10_000;

/** Why a job cannot have its times. */
export const EXPIRES_BEFORE_DUE = 'A job must not expire before it is due.';

/** Labels of a job, and characters of each. */
const MOST_LABELS = 20;
const LONGEST_LABEL = 200;

/** A label is named in lists, so it has no comma; whoever reads it sees all of it. */
const LABEL = /^[^,\p{Cc}\p{Cs}]+$/u;

type Unit = NewJob['units'][number];

/** A job that was checked against its type, ready to be written for an owner. */
export type CheckedJob = Omit<NewJob, 'jobId' | 'ownerId' | 'actor' | 'idempotency' | 'dedupe' | 'direct'>;

/** What holds for every job of this service. */
export interface JobRules {
  /** What a point of priority is worth, in milliseconds. */
  pointMs: number;
  /** Who is mailed of jobs that say nothing. */
  notify: NotifyDefaults;
}

/** The rules by the settings. */
export function jobRulesOf(config: Config): JobRules {
  return { pointMs: config.PRIORITY_AGEING, notify: notifyDefaultsOf(config) };
}

/**
 * Checks a submitted job against its type and makes its tasks.
 * @param now the time at which it is submitted
 * @throws {InvalidJobError} naming every place that is wrong.
 */
export async function checkJob(
  input: JobInput,
  types: JobTypeRegistry,
  { pointMs, notify }: JobRules,
  now = Date.now(),
): Promise<CheckedJob> {
  const type = types.find(input.type);
  if (!type) {
    const message = `There is no job type of this name. Known: ${types.names.join(', ')}.`;
    throw new InvalidJobError([{ pointer: '/type', message }], 'unknown-job-type');
  }
  if (type.hasPlan && (input.tasks !== undefined || input.numTask !== undefined)) {
    const pointer = input.tasks === undefined ? '/numTask' : '/tasks';
    throw new InvalidJobError([{ pointer, message: `${type.name} plans its tasks itself.` }]);
  }
  if (input.tasks !== undefined && input.numTask !== undefined) {
    throw new InvalidJobError([{ pointer: '/numTask', message: 'Give either tasks or numTask.' }]);
  }
  if (input.tag !== undefined && !types.tags.includes(input.tag)) {
    const known = types.tags.length === 0 ? 'None is declared' : `Known: ${types.tags.join(', ')}`;
    const message = `No job type declares this tag. ${known}.`;
    throw new InvalidJobError([{ pointer: '/tag', message }]);
  }
  const count = input.tasks?.length ?? input.numTask ?? 1;
  const counted = input.tasks === undefined ? '/numTask' : '/tasks';
  if (!Number.isInteger(count) || count < 1) {
    throw new InvalidJobError([{ pointer: counted, message: 'A job has at least one task.' }]);
  }
  if (count > MOST_SUBMITTED_TASKS) {
    const message = `At most ${MOST_SUBMITTED_TASKS} tasks can be submitted.`;
    throw new InvalidJobError([{ pointer: counted, message }], 'too-many-tasks');
  }
  // Where every task brings its own, the job needs none.
  const owned = input.payload === undefined && input.tasks?.every((task) => task.payload !== undefined);
  const payload = owned ? null : await checkPayload(type, input.payload, '/payload');
  const priority = input.priority ?? 0;
  return {
    type: type.name,
    payloadVersion: type.version,
    queue: queueOf({ tag: input.tag ?? type.tag }),
    failurePolicy: input.failurePolicy ?? 'fail-fast',
    maxAttempts: input.attempts ?? type.attempts,
    resumable: type.resumable,
    finalize: type.hasFinalization || input.catalog !== undefined,
    exitHook: type.hasExitHook,
    ...checkTimes(input, now),
    maxRuntimeMs: type.maxRuntimeMs ?? null,
    priority,
    rank: rankOf(input.runAt?.getTime() ?? now, priority, pointMs),
    payload,
    ...checkLabels(type, input.labels),
    notify: checkNotify(input.notify, type.notify, notify),
    catalog: input.catalog === undefined ? null : (cleanJson(input.catalog) ?? null),
    units: type.hasPlan ? [unit('plan', -1, null, null)] : await tasksOf(type, input, count),
  };
}

/** The keys that no other open job may have while a job of this input is open. */
export function dedupeOf(
  types: JobTypeRegistry,
  { type, dedupeKey }: JobInput,
  ownerId: string,
): DedupeKey[] {
  return [
    ...(dedupeKey === undefined ? [] : [{ scope: `owner ${ownerId}`, key: dedupeKey }]),
    ...(types.find(type)?.exclusive === 'refuse' ? [{ scope: 'type', key: type }] : []),
  ];
}

function checkLabels(
  type: RegisteredJobType,
  labels: Record<string, string> = {},
): Pick<NewJob, 'labels' | 'searchable'> {
  const given = Object.entries(labels);
  const issues = given.flatMap(([key, value]) => {
    const pointer = below('/labels', [key]);
    if (!LABEL_KEY.test(key)) {
      const message = 'A key is a letter, then letters, digits, "_", "." and "-", 63 in all.';
      return [{ pointer, message }];
    }
    if (value.length <= LONGEST_LABEL && LABEL.test(value)) return [];
    return [
      {
        pointer,
        message: `A label is 1 to ${LONGEST_LABEL} characters without commas and control characters.`,
      },
    ];
  });
  if (given.length > MOST_LABELS) {
    issues.push({ pointer: '/labels', message: `A job has at most ${MOST_LABELS} labels.` });
  }
  if (issues.length > 0) throw new InvalidJobError(issues);
  return { labels: given.length === 0 ? null : labels, searchable: type.searchable };
}

function checkTimes(
  { runAt, expiresAt }: JobInput,
  now: number,
): { runAt: Date | null; expiresAt: Date | null } {
  if (runAt && runAt.getTime() <= now) {
    throw new InvalidJobError([{ pointer: '/runAt', message: 'This time has passed.' }]);
  }
  if (expiresAt && expiresAt.getTime() <= (runAt?.getTime() ?? now)) {
    const message = runAt ? EXPIRES_BEFORE_DUE : 'This time has passed.';
    throw new InvalidJobError([{ pointer: '/expiresAt', message }]);
  }
  return { runAt: runAt ?? null, expiresAt: expiresAt ?? null };
}

async function tasksOf(type: RegisteredJobType, input: JobInput, count: number): Promise<Unit[]> {
  if (input.tasks === undefined)
    return Array.from({ length: count }, (_, position) => unit('task', position, null, null));
  const keys = new Set<string>();
  const units: Unit[] = [];
  for (const [position, { key: given, payload }] of input.tasks.entries()) {
    // As it will be stored: two texts may become one.
    const key = given === undefined ? undefined : cleanText(given);
    if (key !== undefined && keys.has(key)) {
      throw new InvalidJobError([
        { pointer: `/tasks/${position}/key`, message: 'Another task of the job has this key.' },
      ]);
    }
    if (key !== undefined) keys.add(key);
    const own =
      payload === undefined ? null : await checkPayload(type, payload, `/tasks/${position}/payload`);
    units.push(unit('task', position, key ?? null, own));
  }
  return units;
}

async function checkPayload(
  type: RegisteredJobType,
  payload: Json | undefined,
  pointer: string,
): Promise<Json> {
  const parsed = await type.payload.safeParseAsync(payload);
  if (parsed.success) return cleanJson(parsed.data) ?? null;
  throw new InvalidJobError(
    parsed.error.issues.flatMap(({ path, message, ...issue }) =>
      // Each unknown key has a place of its own.
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => ({
            pointer: below(pointer, [...path, key]),
            message: 'There is no such field.',
          }))
        : [{ pointer: below(pointer, path), message }],
    ),
  );
}

function below(pointer: string, path: PropertyKey[]): string {
  return [pointer, ...path.map((part) => String(part).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/');
}

function unit(kind: Unit['kind'], position: number, key: string | null, payload: Json | null): Unit {
  return { taskId: newId(), kind, position, key, payload };
}
