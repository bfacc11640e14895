import {
  CronTimes,
  type Duration,
  durationMs,
  InvalidJobError,
  isTimeZone,
  type JobTemplate,
  MISFIRE_POLICIES,
  OVERLAP_POLICIES,
  type ScheduleInput,
  Slots,
} from '@app/core';
import type { ScheduleRule } from '../store/schedule-rows.js';
import { checkJob, type JobRules } from './check-job.js';
import type { JobTypeRegistry } from './job-type-registry.js';

/** The name of a schedule: 1 to 100 characters, none of them a control character. */
const NAME = /^[^\p{Cc}\p{Cs}]{1,100}$/u;
const LONGEST_MS = 366 * 86_400_000;
const MOST_CATCH_UP = 100;
const MOST_RUNS = 1_000_000_000;
type Issues = InvalidJobError['issues'];
type Timing = Pick<ScheduleRule, 'cron' | 'everyMs' | 'timezone' | 'startAt' | 'endAt'>;

/** What schedules are held to. */
export interface ScheduleLimits {
  /** The shortest time between two slots, in milliseconds. */
  leastIntervalMs: number;
  job: JobRules;
}

/**
 * Checks a schedule, its job as a submit is checked, and gives it its defaults.
 * @throws {InvalidJobError} naming every place that is wrong
 */
export async function checkSchedule(
  input: ScheduleInput,
  types: JobTypeRegistry,
  limits: ScheduleLimits,
): Promise<ScheduleRule> {
  const issues: Issues = [];
  const duration = (field: keyof ScheduleInput, fallback: number | null, least: number, most = LONGEST_MS) =>
    checkDuration(issues, field, input[field] as Duration | undefined, fallback, least, most);
  if (!NAME.test(input.name))
    issues.push({ pointer: '/name', message: '1 to 100 characters, no control characters.' });
  const { timing, shortestMs } = readTiming(issues, input, limits.leastIntervalMs);
  const jitterMs = duration('jitter', 0, 0) ?? 0;
  const rule: ScheduleRule = {
    name: input.name,
    ...timing,
    maxRuns: checkCount(issues, 'maxRuns', input.maxRuns, MOST_RUNS) ?? null,
    jitterMs,
    type: input.job.type,
    template: input.job,
    maxRuntimeMs: duration('maxRuntime', null, 1, 24 * 86_400_000),
    checkinMarginMs: duration('checkinMargin', null, 1000),
    misfire: oneOf(issues, 'misfire', input.misfire, MISFIRE_POLICIES, 'latest'),
    maxCatchUp: checkCount(issues, 'maxCatchUp', input.maxCatchUp, MOST_CATCH_UP) ?? 10,
    catchUpWindowMs: duration('catchUpWindow', 86_400_000, 0) ?? 0,
    overlap: oneOf(issues, 'overlap', input.overlap, OVERLAP_POLICIES, 'allow'),
  };
  if (shortestMs !== undefined && jitterMs >= shortestMs) {
    issues.push({ pointer: '/jitter', message: 'It must be shorter than the time between two slots.' });
  }
  issues.push(...(await issuesOfJob(input.job, types, limits.job)));
  if (issues.length > 0) throw new InvalidJobError(issues);
  return rule;
}

/**
 * Checks when a schedule has slots.
 * @throws {InvalidJobError} naming every place that is wrong
 */
export function checkTiming(input: Partial<ScheduleInput>, leastMs: number): Timing {
  const issues: Issues = [];
  const { timing } = readTiming(issues, input, leastMs);
  if (issues.length > 0) throw new InvalidJobError(issues);
  return timing;
}

/** The times of a schedule, and the shortest one between two slots, where that can be said. */
function readTiming(
  issues: Issues,
  input: Partial<ScheduleInput>,
  leastMs: number,
): { timing: Timing; shortestMs: number | undefined } {
  const timing: Timing = {
    cron: input.cron ?? null,
    everyMs: checkDuration(issues, 'every', input.every, null, leastMs, LONGEST_MS),
    timezone: input.timezone ?? 'UTC',
    startAt: input.startAt ?? null,
    endAt: input.endAt ?? null,
  };
  const { cron, timezone, startAt, endAt } = timing;
  if ((input.cron === undefined) === (input.every === undefined)) {
    const pointer = input.cron === undefined ? '/cron' : '/every';
    issues.push({ pointer, message: 'Give either cron or every.' });
  }
  if (!isTimeZone(timezone)) {
    issues.push({
      pointer: '/timezone',
      message: 'There is no such time zone. Give a name such as Europe/Berlin.',
    });
  }
  const shortestMs = cron === null ? (timing.everyMs ?? undefined) : checkCron(issues, cron, leastMs);
  if (startAt && endAt && endAt <= startAt)
    issues.push({ pointer: '/endAt', message: 'It is not after startAt.' });
  if (issues.length === 0 && !new Slots({ ...timing, anchor: startAt ?? new Date() }).next(new Date())) {
    issues.push({ pointer: endAt ? '/endAt' : '/cron', message: 'No slot lies in the time to come.' });
  }
  return { timing, shortestMs };
}

function checkCron(issues: Issues, cron: string, leastMs: number): number | undefined {
  try {
    const { shortestMs } = CronTimes.parse(cron);
    if (shortestMs >= leastMs) return shortestMs;
    issues.push({ pointer: '/cron', message: `Its slots must be ${leastMs / 1000} s apart at least.` });
  } catch (error) {
    issues.push({ pointer: '/cron', message: (error as Error).message });
  }
  return undefined;
}

async function issuesOfJob(job: JobTemplate, types: JobTypeRegistry, rules: JobRules): Promise<Issues> {
  try {
    await checkJob(job, types, rules);
    return [];
  } catch (error) {
    if (!(error instanceof InvalidJobError)) throw error;
    return error.issues.map(({ pointer, message }) => ({ pointer: `/job${pointer}`, message }));
  }
}

function checkDuration(
  issues: Issues,
  field: string,
  text: Duration | undefined,
  fallback: number | null,
  least: number,
  most: number,
): number | null {
  if (text === undefined) return fallback;
  try {
    const ms = durationMs(text);
    if (ms >= least && ms <= most) return ms;
    issues.push({
      pointer: `/${field}`,
      message: `A duration from ${least} ms to ${most / 86_400_000} days.`,
    });
  } catch (error) {
    issues.push({ pointer: `/${field}`, message: (error as Error).message });
  }
  return fallback;
}

function checkCount(
  issues: Issues,
  field: string,
  count: number | undefined,
  most: number,
): number | undefined {
  if (count === undefined || (Number.isInteger(count) && count >= 1 && count <= most)) return count;
  issues.push({ pointer: `/${field}`, message: `A whole number from 1 to ${most}.` });
  return undefined;
}

function oneOf<T extends string>(
  issues: Issues,
  field: string,
  value: T | undefined,
  known: readonly T[],
  fallback: T,
): T {
  if (value === undefined || known.includes(value)) return value ?? fallback;
  issues.push({ pointer: `/${field}`, message: `One of ${known.join(', ')}.` });
  return fallback;
}
