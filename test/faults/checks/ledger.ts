import { type EventRow, type Evidence, groupBy, type JobRow } from '../evidence.js';
import type { Violation } from './violation.js';

// Written down once more, and not imported: a checker that asked the code under test would agree with it.
const STEPS: Record<string, string[]> = {
  '': ['queued', 'scheduled'],
  scheduled: ['queued', 'failed', 'canceled'],
  queued: ['active', 'failed', 'canceled'],
  active: ['finalizing', 'completed', 'failed', 'canceled'],
  finalizing: ['completed', 'failed'],
  completed: [],
  failed: [],
  canceled: [],
};
const FINAL = ['completed', 'failed', 'canceled'];

/** Replays the ledger of every job: its own transitions, and the claims and ends of its tasks. */
export function checkLedger({ jobs, events }: Evidence): Violation[] {
  const byJob = groupBy(events, (event) => event.jobId);
  return jobs.flatMap((job) => {
    const ledger = byJob.get(job.id) ?? [];
    return [...checkJob(job, ledger), ...checkTasks(ledger)];
  });
}

function checkJob(job: JobRow, ledger: EventRow[]): Violation[] {
  const found: Violation[] = [];
  const tell = (rule: Violation['rule'], detail: string) => found.push({ rule, subject: job.id, detail });
  for (const [generation, of] of groupBy(ledger, (event) => String(event.generation))) {
    // One statement may write several: the version orders batches, the state machine what is within.
    const states = of
      .filter((event) => event.kind.startsWith('job.'))
      .toSorted((a, b) => a.version - b.version || a.seq - b.seq)
      .map((event) => event.kind.slice('job.'.length));
    const endings = states.filter((state) => FINAL.includes(state));
    if (endings.length > 1) tell('second-ending', endings.join(', '));
    let before = '';
    for (const state of states) {
      const again = FINAL.includes(before) && FINAL.includes(state);
      if (!again && !STEPS[before]?.includes(state))
        tell('illegal-step', `${before || 'nothing'} → ${state}`);
      before = state;
    }
    const ended = of.find((event) => FINAL.includes(event.kind.slice('job.'.length)));
    if (!ended) continue;
    for (const event of of) {
      if (event.version > ended.version && event.kind.startsWith('tasks.'))
        tell('accepted-late', `${event.kind} has version ${event.version}, the end ${ended.version}`);
    }
    if (Number(generation) === job.generation && ended.kind !== `job.${job.status}`)
      tell('no-ending', `the ledger says ${ended.kind}, the job ${job.status}`);
  }
  if (job.ended && !ledger.some((event) => event.kind === `job.${job.status}`))
    tell('no-ending', `the job is ${job.status}, and the ledger does not say so`);
  return found;
}

interface TaskStep {
  kind: string;
  fence: number;
  seq: number;
}

function checkTasks(ledger: EventRow[]): Violation[] {
  const steps = ledger.flatMap((event) =>
    event.tasks.map(({ id, fence }) => ({ id, kind: event.kind, fence, seq: event.seq })),
  );
  return [...groupBy(steps, (step) => step.id)].flatMap(([id, of]) => checkTask(id, of));
}

function checkTask(id: string, steps: TaskStep[]): Violation[] {
  const found: Violation[] = [];
  const tell = (rule: Violation['rule'], detail: string) => found.push({ rule, subject: id, detail });
  const completed = steps.filter((step) => step.kind === 'tasks.completed');
  if (completed.length > 1)
    tell('accepted-twice', `with the fences ${completed.map((step) => step.fence).join(', ')}`);
  let newest = 0;
  for (const { kind, fence } of steps.toSorted((a, b) => a.seq - b.seq)) {
    if (kind === 'tasks.active') {
      if (fence <= newest) tell('fence-repeated', `fence ${fence} was granted after ${newest}`);
      newest = Math.max(newest, fence);
    } else if (kind !== 'tasks.canceled' && fence !== newest) {
      tell('stale-accepted', `${kind} under fence ${fence}, the newest claim having ${newest}`);
    }
  }
  return found;
}
