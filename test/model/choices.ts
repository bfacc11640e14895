import type { Call } from './call.js';
import {
  endExitCall,
  handBackCall,
  noteStopCall,
  openStopsOf,
  strangeExitsCall,
  takeExitsCall,
} from './exit-calls.js';
import {
  cancelCall,
  expireKeysCall,
  forgetCall,
  forgetKeysCall,
  repairCall,
  rescheduleCall,
  retryCall,
  submit,
  sweepJobsCall,
  timePasses,
} from './job-calls.js';
import type { JobSpec } from './job-moves.js';
import { type Ending, findTask, type Grant, isEnded, type Model, type ModelJob, nextId } from './model.js';
import {
  admitCall,
  checkpointCall,
  claimCall,
  commitCall,
  crashCall,
  finishCall,
  planCall,
  progressCall,
  renewCall,
  sweepCall,
} from './task-calls.js';
import { heldBy } from './task-moves.js';
import {
  countTurn,
  endTurnCall,
  overdueCall,
  postponeTurn,
  resolveCall,
  storeTurn,
  takeCall,
} from './turn-calls.js';

/** Makes a call out of what there is in the model and two numbers; undefined when there is nothing to call it on. */
export type Choice = (model: Model, a: number, b: number) => Call | undefined;

/** Mostly one that the call can do something to, and now and then any: what is refused is to be tried too. */
function choose<T>(all: T[], likely: T[], at: number): T | undefined {
  const from = likely.length > 0 && at % 5 !== 0 ? likely : all;
  return from[Math.floor(at / 5) % (from.length || 1)];
}

const jobs = (model: Model) => [...model.jobs.values()];
const tasks = (model: Model) => jobs(model).flatMap((job) => job.tasks);
const jobFor = (model: Model, at: number, likely: (job: ModelJob) => boolean) =>
  choose(jobs(model), jobs(model).filter(likely), at);
const heldGrants = (model: Model) => model.grants.filter((grant) => heldBy(model, grant));
const grantFor = (model: Model, at: number, likely: Grant[] = heldGrants(model)) =>
  choose(model.grants, likely, at);
const exitFor = (model: Model, at: number) => choose(model.exits, model.exits.slice(-1), at);
const turnFor = (model: Model, at: number) => choose(model.turns, model.turns.slice(-1), at);
/** A call on what was chosen, if anything was. */
const on = <T>(chosen: T | undefined, call: (chosen: T) => Call): Call | undefined =>
  chosen === undefined ? undefined : call(chosen);

const claimable = (model: Model) =>
  jobs(model)
    .filter(({ status }) => status === 'queued' || status === 'active')
    .flatMap((job) => job.tasks.filter(({ status }) => ['queued', 'retrying', 'paused'].includes(status)));
const taskFor = (model: Model, at: number) => choose(tasks(model), claimable(model), at);

/** How an attempt ends: a worker gives up a task only after its last attempt, or for an error that nothing mends. */
export function endingOf(model: Model, grant: Grant, how: number): Ending {
  const most = model.jobs.get(grant.jobId)?.maxAttempts ?? 1;
  const mark = model.next++;
  const error = `handler_error e${mark}`;
  const base = { taskId: grant.taskId, fence: grant.fence, charged: true, expired: false };
  const luck = how % 10;
  if (luck === 5 && grant.attempt < most) return { ...base, status: 'retrying', error, suspicion: 'alone' };
  if (luck < 6)
    return {
      ...base,
      suspicion: 'cleared',
      status: 'completed',
      ...(luck === 0 ? {} : { result: { n: mark } }),
    };
  if (luck === 6) return { ...base, status: 'paused', charged: false };
  if (luck < 9 && grant.attempt < most) return { ...base, status: 'retrying', error };
  return { ...base, status: 'failed', error };
}

const ofJob = (job: ModelJob, grants: Grant[]) => grants.filter(({ jobId }) => jobId === job.id);
const busyJob = (model: Model, at: number) => jobFor(model, at, ({ status }) => status === 'active');

/** A grant of each task at most: a batch never holds two writes for one task. */
function perTask(grants: Grant[]): Grant[] {
  return [...new Map(grants.map((grant) => [grant.taskId, grant])).values()];
}

function finishAll(model: Model, a: number, b: number): Call | undefined {
  const job = busyJob(model, a);
  const grants = job ? perTask(ofJob(job, heldGrants(model))) : [];
  if (grants.length === 0) return undefined;
  // The digits of the second number, one for each task.
  return finishCall(grants.map((grant, at) => endingOf(model, grant, Math.floor(b / 10 ** (at % 3)))));
}

function claimOne(model: Model, a: number, b: number): Call | undefined {
  const task = taskFor(model, a);
  // What waits for its turn is mostly given it; now and then it is claimed all the same.
  if (task?.gate === 'held' && !isEnded(task) && b % 5 !== 0) return admitCall(model);
  // Now and then by the message of an earlier epoch, and by one that tells none.
  const epoch = task && [{ epoch: task.epoch - 1 }, {}, { epoch: task.epoch }][Math.min(b % 6, 2)];
  return on(task, ({ id }) => claimCall([{ taskId: id, nonce: nextId(model), ...epoch }]));
}

function claimAll(model: Model, a: number): Call | undefined {
  const job = jobFor(model, a, ({ status }) => status === 'queued' || status === 'active');
  if (!job) return undefined;
  return claimCall(job.tasks.map(({ id }) => ({ taskId: id, nonce: nextId(model) })));
}

function plan(model: Model, a: number, b: number): Call | undefined {
  const isPlan = ({ taskId }: Grant) => findTask(model, taskId)?.task.kind === 'plan';
  const plans = model.grants.filter(isPlan);
  const grant = choose(
    plans,
    plans.filter((one) => heldBy(model, one)),
    a,
  );
  const keys = ['a', 'b', 'c', 'd', 'b', 'e'].slice(b % 4, (b % 4) + (Math.floor(b / 4) % 4));
  const at = b % 3 === 0 ? `c${b}` : undefined;
  return on(grant, (held) =>
    planCall(
      held,
      keys.map((key) => ({ taskId: nextId(model), key })),
      at,
    ),
  );
}

const openJob = ({ status }: ModelJob) => ['scheduled', 'queued', 'active'].includes(status);

/** Every kind of call with its weight. */
export const CHOICES: Record<string, [weight: number, choice: Choice]> = {
  claim: [8, claimOne],
  'claim all': [7, claimAll],
  'claim again': [3, (m, a) => on(grantFor(m, a), ({ taskId, nonce }) => claimCall([{ taskId, nonce }]))],
  'claim what runs': [
    2,
    (m, a) => on(grantFor(m, a), ({ taskId }) => claimCall([{ taskId, nonce: nextId(m) }])),
  ],
  finish: [9, (m, a, b) => on(grantFor(m, a), (grant) => finishCall([endingOf(m, grant, b)]))],
  'finish all': [6, finishAll],
  'finish again': [4, (m, a) => on(choose(m.endings, m.endings.slice(-3), a), (one) => finishCall([one]))],
  'finish stale': [
    2,
    (m, a, b) =>
      on(
        grantFor(
          m,
          a,
          m.grants.filter((one) => !heldBy(m, one)),
        ),
        (grant) => finishCall([endingOf(m, grant, b)]),
      ),
  ],
  'expire too early': [
    2,
    (m, a) =>
      on(grantFor(m, a), ({ taskId, fence }) =>
        finishCall([{ taskId, fence, status: 'queued', charged: false, expired: true }]),
      ),
  ],
  progress: [
    6,
    (m, a, b) =>
      on(grantFor(m, a), (grant) => progressCall(grant, b % 101, b % 3 === 0 ? `d${b}` : undefined)),
  ],
  checkpoint: [4, (m, a, b) => on(grantFor(m, a), (grant) => checkpointCall(grant, `c${b}`))],
  'checkpoint stale': [
    3,
    (m, a, b) =>
      on(
        grantFor(
          m,
          a,
          m.grants.filter((one) => findTask(m, one.taskId)?.task.status === 'active' && !heldBy(m, one)),
        ),
        (grant) => checkpointCall(grant, `c${b}`),
      ),
  ],
  commit: [4, (m, a, b) => on(grantFor(m, a), (grant) => commitCall(grant, `k${b % 2}`, `v${m.next++}`))],
  plan: [8, plan],
  crash: [4, (m, a) => on(grantFor(m, a), (grant) => crashCall([grant]))],
  sweep: [5, () => sweepCall()],
  admit: [6, (m) => admitCall(m)],
  renew: [2, (m, a) => on(busyJob(m, a), (job) => renewCall(perTask(ofJob(job, m.grants))))],
  cancel: [2, (m, a) => on(jobFor(m, a, openJob), cancelCall)],
  'cancel again': [1, (m, a) => on(jobFor(m, a, isEnded), cancelCall)],
  retry: [
    5,
    (m, a) =>
      on(
        jobFor(m, a, ({ status }) => status === 'failed' || status === 'canceled'),
        retryCall,
      ),
  ],
  reschedule: [
    1,
    (m, a, b) =>
      on(
        jobFor(m, a, ({ status }) => status === 'scheduled'),
        (job) => rescheduleCall(job, b % 2 ? 'over' : 'ahead'),
      ),
  ],
  'time passes': [2, (m, a) => on(jobFor(m, a, openJob), timePasses)],
  'sweep jobs': [3, () => sweepJobsCall()],
  take: [5, () => takeCall()],
  'store call': [4, (m, a) => on(turnFor(m, a), storeTurn)],
  'count call': [3, (m, a) => on(turnFor(m, a), countTurn)],
  accepted: [3, (m, a) => on(turnFor(m, a), (turn) => endTurnCall(turn, false))],
  rejected: [3, (m, a) => on(turnFor(m, a), (turn) => endTurnCall(turn, true))],
  resolve: [
    2,
    (m, a, b) =>
      on(
        jobFor(m, a, ({ status }) => status === 'finalizing'),
        (job) => resolveCall(job, b % 2 ? 'completed' : 'failed'),
      ),
  ],
  overdue: [1, () => overdueCall()],
  unknown: [2, (m, a) => on(turnFor(m, a), postponeTurn)],
  'note a stop': [3, (m, a) => on(choose(jobs(m).flatMap(openStopsOf), [], a), noteStopCall)],
  'take exits': [5, () => takeExitsCall()],
  'end an exit': [4, (m, a, b) => on(exitFor(m, a), (turn) => endExitCall(turn, b % 2 === 0))],
  'hand an exit back': [1, (m, a) => on(exitFor(m, a), handBackCall)],
  'strange exits': [1, (_m, _a, b) => strangeExitsCall(b % 2 === 0)],
  forget: [1, () => forgetCall()],
  'expire keys': [1, () => expireKeysCall()],
  'forget keys': [1, () => forgetKeysCall()],
  repair: [2, () => repairCall()],
};

/** A submit of what the generator has made up. */
export function submitCall(model: Model, shape: Omit<JobSpec, 'jobId' | 'units'> & { tasks: number }): Call {
  const { tasks: count, ...spec } = shape;
  const jobId = nextId(model);
  return submit({
    ...spec,
    jobId,
    units: Array.from({ length: spec.plan ? 1 : count }, () => nextId(model)),
  });
}
