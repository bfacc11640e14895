import type { JobFailure } from '../job/job-errors.js';
import { isFinalJobStatus, type JobStatus } from '../job/job-state.js';

/** What can hold a job, in the order in which it is told. */
export const WAIT_CODES = [
  'scheduled',
  'retry-delay',
  'paused-tag',
  'paused-type',
  'no-worker',
  'no-worker-of-type',
  'redis-away',
  'exclusive',
  'concurrency',
  'owner-limit',
  'rate-limit',
  'turn',
  'slot',
  'catalog-circuit',
  'catalog-retry',
] as const;
export type WaitCode = (typeof WAIT_CODES)[number];

/** One thing that holds a job now. */
export interface WaitReason {
  code: WaitCode;
  /** What holds it, and what would end that. */
  message: string;
  /** When it ends by itself, where that is known. */
  until?: Date;
}

/** All that is known about why a job does not go on. */
export interface WaitFacts {
  status: JobStatus;
  type: string;
  queue: string;
  runAt: Date | null;
  /** The first of its tasks that neither runs nor has ended. */
  waiting: {
    held: boolean;
    /** Its next attempt is due then, after an error. */
    retryAt: Date | null;
    attempt: number;
    error: JobFailure | null;
  } | null;
  pauses: { kind: 'type' | 'tag'; reason: string | null; until: Date | null }[];
  /** Slots of live workers of the queue, and whether one of these has the type. */
  slots: number;
  typeIsKnown: boolean;
  redisIsAway: boolean;
  /** The open job of an exclusive type that runs now; its id only where the same owner has it. */
  holder: { jobId: string | null } | null;
  concurrency: { limit: number; used: number } | null;
  owner: { limit: number; used: number } | null;
  /** `freeAt`: when the oldest start counts no more. */
  rate: { max: number; used: number; freeAt: Date | null } | null;
  /** Tasks that have their turn before, and messages that wait in Redis. */
  ahead: number;
  sent: number;
  /** Tasks of the queue that begin in a second, lately. */
  perSecond: number;
  finalization: { nextAt: Date; calls: number; lastError: string | null; circuitUntil: Date | null } | null;
}

/** Why a job waits, and when its next task may begin. */
export interface Explanation {
  reasons: WaitReason[];
  /** From the rate at which tasks of the queue began lately; null when nothing tells. */
  estimatedStart: Date | null;
}

type Rule = (facts: WaitFacts, now: Date) => Omit<WaitReason, 'code'> | undefined;

/** Whether something of the job is still to begin. */
const isToBegin = (status: JobStatus, waiting: WaitFacts['waiting']) =>
  waiting !== null || status === 'scheduled';
const later = (time: Date | null | undefined, now: Date): time is Date => !!time && time > now;
const until = (time: Date | null) => (time ? { until: time } : {});
const because = (reason: string | null) => (reason === null ? '' : ` Reason: ${reason}`);

const RULES: Record<WaitCode, Rule> = {
  scheduled: ({ status, runAt }) =>
    status === 'scheduled' && runAt
      ? { message: 'The job is due at a later time.', until: runAt }
      : undefined,
  'retry-delay': ({ waiting }, now) =>
    waiting && later(waiting.retryAt, now)
      ? {
          message: `Attempt ${waiting.attempt} failed (${waiting.error?.message ?? 'no reason given'}). The next one begins when its delay is over.`,
          until: waiting.retryAt,
        }
      : undefined,
  'paused-tag': ({ status, waiting, pauses, queue }) => {
    const pause = isToBegin(status, waiting) ? pauses.find(({ kind }) => kind === 'tag') : undefined;
    return (
      pause && {
        message: `The tag "${queue}" is paused until it is resumed.${because(pause.reason)}`,
        ...until(pause.until),
      }
    );
  },
  'paused-type': ({ status, waiting, pauses, type }) => {
    const pause = isToBegin(status, waiting) ? pauses.find(({ kind }) => kind === 'type') : undefined;
    return (
      pause && {
        message: `The job type "${type}" is paused until it is resumed.${because(pause.reason)}`,
        ...until(pause.until),
      }
    );
  },
  'no-worker': ({ waiting, slots, queue }) =>
    waiting && slots === 0
      ? { message: `No live worker takes tasks of "${queue}". Start one that holds this tag.` }
      : undefined,
  'no-worker-of-type': ({ waiting, slots, typeIsKnown, type }) =>
    waiting && slots > 0 && !typeIsKnown
      ? { message: `No live worker has the job type "${type}" in this version. Start one that has it.` }
      : undefined,
  'redis-away': ({ waiting, redisIsAway }) =>
    waiting && redisIsAway ? { message: 'Redis is away. The task is sent when it is back.' } : undefined,
  exclusive: ({ waiting, holder, type }) =>
    waiting?.held && holder
      ? {
          message: `Jobs of "${type}" run one after another. ${holder.jobId === null ? 'Another one' : `Job ${holder.jobId}`} runs now: this one follows when it has ended.`,
        }
      : undefined,
  concurrency: ({ waiting, concurrency, type }) =>
    waiting?.held && concurrency && concurrency.used >= concurrency.limit
      ? {
          message: `${concurrency.used} tasks of "${type}" are under way, and ${concurrency.limit} may be at a time. One begins when another has ended.`,
        }
      : undefined,
  'owner-limit': ({ waiting, owner }) =>
    waiting?.held && owner && owner.used >= owner.limit
      ? {
          message: `${owner.used} tasks of this owner are under way, and ${owner.limit} may be at a time. One begins when another has ended.`,
        }
      : undefined,
  'rate-limit': ({ waiting, rate, type }) =>
    waiting?.held && rate && rate.used >= rate.max
      ? {
          message: `As many tasks of "${type}" as may begin within its rate limit (${rate.max}) have begun.`,
          ...until(rate.freeAt),
        }
      : undefined,
  turn: ({ waiting, ahead }, now) =>
    waiting?.held && !later(waiting.retryAt, now)
      ? {
          message:
            ahead === 0
              ? 'The task is the next one to be admitted to its queue, as soon as there is room.'
              : `${ahead} tasks have their turn before. Owners take turns; within one, the higher priority and then the older job goes first.`,
        }
      : undefined,
  slot: ({ waiting, sent }, now) =>
    waiting && !waiting.held && !later(waiting.retryAt, now)
      ? { message: `The task waits for a worker with a free slot, one of ${Math.max(1, sent)} in the queue.` }
      : undefined,
  'catalog-circuit': ({ finalization }, now) =>
    finalization && later(finalization.circuitUntil, now)
      ? {
          message: 'The Catalog has failed again and again, and is left in peace for a while.',
          until: finalization.circuitUntil,
        }
      : undefined,
  'catalog-retry': ({ finalization }, now) =>
    finalization && finalization.lastError !== null && later(finalization.nextAt, now)
      ? {
          message: `The Catalog has not taken the job yet, after ${finalization.calls} calls: ${finalization.lastError}. It is asked again.`,
          until: finalization.nextAt,
        }
      : undefined,
};

/** What would hold a task for an end that nobody can foretell. */
const OPEN_ENDED: WaitCode[] = [
  'no-worker',
  'no-worker-of-type',
  'redis-away',
  'exclusive',
  'concurrency',
  'owner-limit',
];

/**
 * The reasons that hold a job now, in the order of WAIT_CODES. A job that has ended, or of which all that is open
 * runs, has none.
 */
export function explainWait(facts: WaitFacts, now: Date): Explanation {
  if (isFinalJobStatus(facts.status)) return { reasons: [], estimatedStart: null };
  const reasons = WAIT_CODES.flatMap((code) => {
    const reason = RULES[code](facts, now);
    return reason ? [{ code, ...reason }] : [];
  });
  return { reasons, estimatedStart: estimateStart(facts, reasons, now) };
}

function estimateStart(facts: WaitFacts, reasons: WaitReason[], now: Date): Date | null {
  if (!isToBegin(facts.status, facts.waiting) || reasons.some(({ code }) => OPEN_ENDED.includes(code)))
    return null;
  const fixed = reasons.filter(({ code }) => code !== 'turn' && code !== 'slot');
  // A pause without an end.
  if (fixed.some((reason) => reason.until === undefined)) return null;
  const from = Math.max(now.getTime(), ...fixed.map((reason) => reason.until?.getTime() ?? 0));
  const before = facts.ahead + facts.sent;
  if (before === 0 || facts.status === 'scheduled') return new Date(from);
  return facts.perSecond > 0 ? new Date(from + (before / facts.perSecond) * 1000) : null;
}
