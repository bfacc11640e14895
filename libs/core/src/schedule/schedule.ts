import type { JobInput } from '../job/job.js';
import type { JobStatus } from '../job/job-state.js';
import type { Duration } from '../task/duration.js';

export const MISFIRE_POLICIES = ['skip', 'latest', 'all'] as const;
/**
 * What is done for slots whose time has passed while nobody could fire them. `latest`: one run for all of them. `all`: a
 * run for each, up to a number. `skip`: none.
 */
export type MisfirePolicy = (typeof MISFIRE_POLICIES)[number];

export const OVERLAP_POLICIES = ['allow', 'skip', 'queue-one', 'cancel-other'] as const;
/**
 * What is done for a slot while a job of the schedule is still open. `queue-one`: one slot waits for it to end.
 * `cancel-other`: the open job is canceled.
 */
export type OverlapPolicy = (typeof OVERLAP_POLICIES)[number];

export const SLOT_OUTCOMES = [
  'fired',
  'late',
  'skipped-overlap',
  'skipped-paused',
  'missed',
  'merged',
  'dst-gap',
] as const;
/**
 * What became of a slot. It made a job: `fired`; `dst-gap`, in place of a time that the clocks skipped; or `late`, when the
 * job had not begun in time. It made none: `skipped-overlap`, `skipped-paused`, `missed`, or `merged` with another run.
 */
export type SlotOutcome = (typeof SLOT_OUTCOMES)[number];

/** What a job of a schedule is submitted with: its times are those of its slot. */
export type JobTemplate = Omit<JobInput, 'runAt' | 'expiresAt'>;

/** A rule that makes jobs. Either `cron` or `every` is given. */
export interface ScheduleInput {
  /** Unique among the schedules of the owner. */
  name: string;
  /** Five fields, or six with seconds first. */
  cron?: string;
  /** The real time between two slots, counted from `startAt` or from now. */
  every?: Duration;
  /** The IANA zone of the clocks on which `cron` is read; default UTC. */
  timezone?: string;
  job: JobTemplate;
  /** No slot is before it. */
  startAt?: Date;
  /** No slot is at it or later. */
  endAt?: Date;
  /** The schedule ends when its slots have made so many jobs. */
  maxRuns?: number;
  /** Each slot fires up to so much later, by a chance that is fixed for the slot. */
  jitter?: Duration;
  /** Default `latest`. */
  misfire?: MisfirePolicy;
  /** Runs that `all` makes at most; default 10. */
  maxCatchUp?: number;
  /** Slots that are older than this are not made up for; default 1d. */
  catchUpWindow?: Duration;
  /** Default `allow`. */
  overlap?: OverlapPolicy;
  /** A job that begins later than this after its slot is late, and told of as such. */
  checkinMargin?: Duration;
  /** Limit of a job; that of its type holds too. */
  maxRuntime?: Duration;
}

/** A schedule that a job type declares, with the payload of its jobs. The rest of the job can be given as for a submit. */
export type DeclaredCron = Omit<ScheduleInput, 'job' | 'name' | 'startAt' | 'endAt'> & {
  /** Unique among the declared schedules of its owner. */
  name: string;
  /** Whose its jobs are; default `system`. */
  owner?: string;
  payload?: JobTemplate['payload'];
  job?: Omit<JobTemplate, 'type' | 'payload'>;
};

/** A schedule as its owner sees it. */
export interface Schedule {
  scheduleId: string;
  name: string;
  /** `ended`: it has no slot left; `retired`: no job type declares it any more. */
  status: 'active' | 'paused' | 'ended' | 'retired';
  cron: string | null;
  every: Duration | null;
  timezone: string;
  job: JobTemplate;
  startAt: Date | null;
  endAt: Date | null;
  maxRuns: number | null;
  /** Jobs that its slots have made. */
  runs: number;
  jitter: Duration | null;
  misfire: MisfirePolicy;
  maxCatchUp: number;
  catchUpWindow: Duration;
  overlap: OverlapPolicy;
  checkinMargin: Duration | null;
  maxRuntime: Duration | null;
  /** Whether a job type declares it; then only the code can change or delete it. */
  declared: boolean;
  pause: { actor: string; reason: string | null; since: Date; until: Date | null } | null;
  /** A slot that waits for the job before it to end. */
  queuedSlot: Date | null;
  /** The next instants of its rule, five at most; a pause is not looked at. */
  next: Date[];
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

/** A row of the ledger of a schedule: a slot, or all slots from it to `until` that had one outcome. */
export interface SlotRecord {
  slot: Date;
  /** The last of the slots, where there are several. */
  until: Date | null;
  count: number;
  outcome: SlotOutcome;
  /** Who has triggered it; null: the rule. */
  triggeredBy: string | null;
  jobId: string | null;
  jobStatus: JobStatus | null;
  /** The open job for which it was skipped, or the run with which it was merged. */
  blockedBy: string | null;
  note: string | null;
  decidedAt: Date;
}

/** Another schedule of the owner has this name. */
export class DuplicateScheduleError extends Error {
  override readonly name = 'DuplicateScheduleError';
  constructor() {
    super('You have another schedule of this name.');
  }
}

/** A schedule that a job type declares cannot be changed or deleted but in its code. */
export class DeclaredScheduleError extends Error {
  override readonly name = 'DeclaredScheduleError';
  constructor() {
    super('A job type declares this schedule: change its code, or pause the schedule.');
  }
}
