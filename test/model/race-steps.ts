import { type Call, makeAllDue } from './call.js';
import {
  cancelCall,
  forgetCall,
  repairCall,
  rescheduleCall,
  retryCall,
  sweepJobsCall,
  timePasses,
} from './job-calls.js';
import { endExitCall, noteStopCall, openStopsOf, takeExitsCall } from './exit-calls.js';
import type { JobSpec } from './job-moves.js';
import { submitCall } from './choices.js';
import { type Ending, type Grant, type Model, type ModelJob, nextId } from './model.js';
import {
  checkpointCall,
  claimCall,
  commitCall,
  crashCall,
  finishCall,
  planCall,
  progressCall,
  renewCall,
  admitCall,
  sweepCall,
} from './task-calls.js';
import { endTurnCall, resolveCall, storeTurn, takeCall } from './turn-calls.js';
import type { Step } from './race.js';

export type { Step };

// Calls on the only job of a race: task 0 is its first task or its plan, in the order in which they came to be.

const theJob = (model: Model): ModelJob => [...model.jobs.values()][0]!;
const taskAt = (model: Model, at: number) => theJob(model).tasks[at]!;
/** The latest grant of a task. */
const grantAt = (model: Model, at: number): Grant =>
  model.grants.findLast(({ taskId }) => taskId === taskAt(model, at).id)!;
const turnAt = (model: Model, back: number) => model.turns.at(-1 - back)!;

export const submit =
  (over: Partial<JobSpec> & { tasks?: number } = {}): Step =>
  (model) =>
    submitCall(model, {
      tasks: 2,
      plan: false,
      policy: 'fail-fast',
      maxAttempts: 3,
      resumable: false,
      finalize: false,
      limited: false,
      direct: 3,
      hook: false,
      runAt: 'none',
      expires: 'none',
      key: null,
      ...over,
    });

export const claim =
  (...at: number[]): Step =>
  (model) =>
    claimCall(at.map((one) => ({ taskId: taskAt(model, one).id, nonce: nextId(model) })));

export const finish =
  (at: number, status: Ending['status'] = 'completed', over: Partial<Ending> = {}): Step =>
  (model) => {
    const { taskId, fence } = grantAt(model, at);
    const mark = model.next++;
    const what = status === 'completed' ? { result: { n: mark } } : { error: `handler_error e${mark}` };
    const none = status === 'paused' || status === 'queued';
    return finishCall([
      { taskId, fence, status, charged: !none, expired: false, ...(none ? {} : what), ...over },
    ]);
  };

/** What whoever was granted a task long ago writes of it. */
export const finishOf =
  ({ taskId, fence }: Grant): Step =>
  () =>
    finishCall([{ taskId, fence, status: 'completed', charged: true, expired: false, result: 'late' }]);

export const sweep: Step = () => sweepCall();
export const admit: Step = (model) => admitCall(model);

/** As the sweeper does when a lease has ended. */
export const expire = (at: number): Step => finish(at, 'queued', { expired: true, suspicion: 'raised' });
/** As its worker does when the process of an attempt that ran alone has died. */
export const dieAlone = (at: number): Step => finish(at, 'retrying', { suspicion: 'alone' });
export const crash =
  (at: number): Step =>
  (model) =>
    crashCall([grantAt(model, at)]);
export const cancel: Step = (model) => cancelCall(theJob(model));
export const retry: Step = (model) => retryCall(theJob(model));
export const resolve: Step = (model) => resolveCall(theJob(model), 'completed');
export const repair: Step = () => repairCall();
export const forget: Step = () => forgetCall();
/** All times of the job have come, and a sweeper is to look at it. */
export const overTime: Step = (model) => {
  const passing = timePasses(theJob(model));
  const perform: Call['perform'] = async (client) => {
    await makeAllDue(client);
    return passing.perform(client);
  };
  return { ...passing, perform };
};
/** A sweep of jobs whose time has come already. */
export const sweepJobs: Step = () => sweepJobsCall(false);
export const reschedule: Step = (model) => rescheduleCall(theJob(model), 'ahead');
export const progress =
  (at: number, percent = 50): Step =>
  (model) =>
    progressCall(grantAt(model, at), percent, undefined);
export const checkpoint =
  (at: number): Step =>
  (model) =>
    checkpointCall(grantAt(model, at), 'half way');
export const commit =
  (at: number): Step =>
  (model) =>
    commitCall(grantAt(model, at), 'effect', `e${model.next++}`);
export const renew =
  (at: number): Step =>
  (model) =>
    renewCall([grantAt(model, at)]);
export const plan =
  (...keys: string[]): Step =>
  (model) =>
    planCall(
      grantAt(model, 0),
      keys.map((key) => ({ taskId: nextId(model), key })),
      keys.at(-1),
    );

/** Whatever was told to stop has stopped. */
export const stopped =
  (at = 0): Step =>
  (model) =>
    noteStopCall(openStopsOf(theJob(model))[at]!);
export const takeExits: Step = () => takeExitsCall(false);
export const takeExitsAnew: Step = () => takeExitsCall();
export const endExit =
  (back = 0): Step =>
  (model) =>
    endExitCall(model.exits.at(-1 - back)!, false);

/** Ends everything that a job of that many tasks still has to do. */
export const complete = (tasks: number): Step[] => [
  claim(...Array.from({ length: tasks }, (_, at) => at)),
  ...Array.from({ length: tasks }, (_, at) => finish(at)),
];
export const take: Step = () => takeCall(false);
export const takeAnew: Step = (): Call => takeCall();
export const store =
  (back = 0): Step =>
  (model) =>
    storeTurn(turnAt(model, back));
export const end =
  (back = 0, rejected = false): Step =>
  (model) =>
    endTurnCall(turnAt(model, back), rejected);
