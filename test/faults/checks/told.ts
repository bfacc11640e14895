import { type Evidence, groupBy, type JobRow } from '../evidence.js';
import type { Violation } from './violation.js';

const RANK: Record<string, number> = { scheduled: 0, queued: 1, active: 2, finalizing: 3 };
const FINAL_RANK = 4;

/** What a client has learned of a job: true at some moment between `from` and `at`. */
interface Observation {
  from: number;
  at: number;
  status: string;
  progress?: number;
  version?: number;
}

/** Compares what the client was told with what became of it. */
export function checkTold(evidence: Evidence): Violation[] {
  const jobs = new Map(evidence.jobs.map((job) => [job.id, job]));
  return [
    ...checkSubmits(evidence, jobs),
    ...checkCancels(evidence, jobs),
    ...[...observations(evidence)].flatMap(([jobId, seen]) => checkOrder(jobId, seen)),
  ];
}

function checkSubmits({ history, jobs }: Evidence, byId: Map<string, JobRow>): Violation[] {
  const found: Violation[] = [];
  const submits = history.filter((line) => line.kind === 'submitted');
  const byMarker = groupBy(jobs, (job) => job.marker ?? '');
  for (const { marker, keyed, outcome, jobId } of submits) {
    if (outcome === 'accepted' && (jobId === null || !byId.has(jobId)))
      found.push({ rule: 'lost', subject: String(jobId), detail: `submit ${marker} was answered 201` });
    const made = byMarker.get(marker)?.length ?? 0;
    if (made > 1 && (keyed || outcome === 'accepted'))
      found.push({ rule: 'doubled-submit', subject: marker, detail: `${made} jobs` });
    if (made > 0 && outcome === 'refused')
      found.push({ rule: 'phantom', subject: marker, detail: 'the submit was refused' });
  }
  const asked = new Set(submits.map((line) => line.marker));
  for (const job of jobs) {
    if (!job.scheduled && !asked.has(job.marker ?? ''))
      found.push({ rule: 'phantom', subject: job.id, detail: `no submit has the marker ${job.marker}` });
    if (!job.ended) found.push({ rule: 'unfinished', subject: job.id, detail: `it is ${job.status}` });
  }
  return found;
}

function checkCancels({ history }: Evidence, jobs: Map<string, JobRow>): Violation[] {
  return history.flatMap((line): Violation[] => {
    if (line.kind !== 'cancel' || line.status !== 200) return [];
    const status = jobs.get(line.jobId)?.status ?? 'absent';
    if (status === 'canceled') return [];
    return [{ rule: 'cancel-undone', subject: line.jobId, detail: `it is ${status}` }];
  });
}

/** All that was told of each job, the row at the end included, in the order in which it was learned. */
function observations({ history, jobs }: Evidence): Map<string, Observation[]> {
  const all = groupBy(
    history.flatMap((line): (Observation & { jobId: string })[] => {
      if (line.kind === 'seen') return [line];
      if (line.kind === 'cancel' && line.jobStatus !== null) return [{ ...line, status: line.jobStatus }];
      return [];
    }),
    (seen) => seen.jobId,
  );
  for (const { id, status, progress, version } of jobs) {
    const row = { from: Infinity, at: Infinity, status, progress, version };
    all.set(id, [...(all.get(id) ?? []), { ...row, jobId: id }]);
  }
  return all as Map<string, Observation[]>;
}

function checkOrder(jobId: string, seen: Observation[]): Violation[] {
  const found: Violation[] = [];
  const tell = (rule: Violation['rule'], detail: string) => found.push({ rule, subject: jobId, detail });
  for (const [index, later] of seen.entries()) {
    if (later.progress !== undefined && (later.progress === 100) !== (later.status === 'completed'))
      tell('progress-false', `${later.status} at ${later.progress}`);
    // Only what was known before the question was asked must not be contradicted by its answer.
    for (const earlier of seen.slice(0, index).filter((one) => one.at <= later.from)) {
      const step = `${earlier.status} → ${later.status}`;
      if (rankOf(earlier.status) === FINAL_RANK) {
        if (earlier.status !== later.status) tell('left-final', step);
      } else if (rankOf(later.status) < rankOf(earlier.status)) tell('state-back', step);
      if ((later.progress ?? Infinity) < (earlier.progress ?? 0))
        tell('progress-back', `progress ${earlier.progress} → ${later.progress}`);
      if ((later.version ?? Infinity) < (earlier.version ?? 0))
        tell('progress-back', `version ${earlier.version} → ${later.version}`);
    }
  }
  return found;
}

function rankOf(status: string): number {
  return RANK[status] ?? FINAL_RANK;
}
