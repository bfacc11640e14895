import type { Race } from './race.js';
import {
  cancel,
  checkpoint,
  claim,
  commit,
  complete,
  crash,
  end,
  endExit,
  expire,
  finish,
  forget,
  overTime,
  plan,
  progress,
  renew,
  repair,
  reschedule,
  retry,
  stopped,
  store,
  submit,
  sweepJobs,
  take,
  takeAnew,
  takeExits,
  takeExitsAnew,
} from './race-steps.js';

const running = [submit(), claim(0, 1)];
const lastOne = (over: Parameters<typeof submit>[0] = {}) => [submit(over), claim(0, 1), finish(0)];
const planning = [submit({ plan: true }), claim(0), plan('a', 'b'), claim(1)];
const scheduled = [submit({ runAt: 'ahead' }), overTime];
const failed = [submit(), claim(0, 1), finish(0, 'failed')];
const expiring = [submit({ expires: 'ahead' }), overTime];
const tooLong = [submit({ limited: true }), claim(0, 1), overTime];
const finalizing = [submit({ finalize: true }), ...complete(2)];
const turned = [...finalizing, takeAnew];
const exiting = [submit({ hook: true }), claim(0), finish(0, 'failed'), takeExitsAnew];
const halting = [submit({ hook: true }), claim(0, 1), finish(0, 'failed')];

/** What a cancel can meet, at every edge of the way of a job. */
const AGAINST_CANCEL: Record<string, [before: Race['before'], other: Race['second']]> = {
  'the first claim': [[submit()], claim(0)],
  'a claim of all': [[submit()], claim(0, 1)],
  'a further claim': [[submit(), claim(0)], claim(1)],
  'a claim after a retry': [[...running, finish(0, 'retrying')], claim(0)],
  progress: [running, progress(0)],
  'a checkpoint': [running, checkpoint(0)],
  'an effect': [running, commit(0)],
  'a heartbeat': [running, renew(0)],
  'a finish': [running, finish(0)],
  'the last finish': [lastOne(), finish(1)],
  'the last finish, to be finalized': [lastOne({ finalize: true }), finish(1)],
  'a failure': [running, finish(0, 'failed')],
  'the last failure, policy continue': [lastOne({ policy: 'continue' }), finish(1, 'failed')],
  'a retried attempt': [running, finish(0, 'retrying')],
  'a hand-back': [running, finish(0, 'paused')],
  'an ended lease': [[...running, crash(0)], expire(0)],
  'a batch of a plan': [planning, plan('c', 'd')],
  'the first batch of a plan': [[submit({ plan: true }), claim(0)], plan('a', 'b')],
  'the end of a plan': [planning, finish(0)],
  'the end of a plan without tasks': [[submit({ plan: true }), claim(0)], finish(0)],
  'the failure of a plan': [planning, finish(0, 'failed')],
  'the last task of a planned job': [[...planning, claim(2), finish(0), finish(1)], finish(2)],
  'a job that is due': [scheduled, sweepJobs],
  'a new time': [[submit({ runAt: 'ahead' })], reschedule],
  'a deadline before the start': [expiring, sweepJobs],
  'the longest runtime': [tooLong, sweepJobs],
  'a retry of a failed job': [failed, retry],
  'a retry of a canceled job': [[...running, cancel], retry],
  'another cancel': [running, cancel],
  'the end of a finalization': [turned, end()],
  'a repair': [running, repair],
  retention: [[...running, cancel], forget],
  'a look for exits': [[submit({ hook: true })], takeExits],
  'the last finish, with an exit hook': [lastOne({ hook: true }), finish(1)],
  'a failure, with an exit hook': [[submit({ hook: true }), claim(0, 1)], finish(0, 'failed')],
};

const OTHERS: Record<string, [before: Race['before'], first: Race['first'], second: Race['second']]> = {
  'the last two tasks': [running, finish(0), finish(1)],
  'the last two tasks, to be finalized': [[submit({ finalize: true }), claim(0, 1)], finish(0), finish(1)],
  'the last two tasks, one fails, continue': [
    [submit({ policy: 'continue' }), claim(0, 1)],
    finish(0, 'failed'),
    finish(1),
  ],
  'the last two tasks, both fail, continue': [
    [submit({ policy: 'continue' }), claim(0, 1)],
    finish(0, 'failed'),
    finish(1, 'failed'),
  ],
  'a failure and the other finish': [running, finish(0, 'failed'), finish(1)],
  'two failures': [running, finish(0, 'failed'), finish(1, 'failed')],
  'a failure and a claim': [[submit(), claim(0)], finish(0, 'failed'), claim(1)],
  'one attempt finished twice': [running, finish(0), finish(0, 'failed')],
  'two claims of one task': [[submit()], claim(0), claim(0)],
  'two claims of two tasks': [[submit()], claim(0), claim(1)],
  'crossed claims': [[submit({ tasks: 3 })], claim(0, 1), claim(2, 1, 0)],
  'a finish and its ended lease': [[...running, crash(0)], finish(0), expire(0)],
  'a heartbeat and an ended lease': [[...running, crash(0)], renew(0), expire(0)],
  'two ended leases': [[...running, crash(0)], expire(0), expire(0)],
  'progress and a finish': [running, progress(0), finish(1)],
  'progress of two tasks': [running, progress(0, 30), progress(1, 80)],
  'progress and its finish': [running, progress(0), finish(0)],
  'an effect and a finish': [running, commit(0), finish(0)],
  'an effect and a failure': [running, commit(0), finish(1, 'failed')],
  'an effect and an ended lease': [[...running, crash(0)], commit(0), expire(0)],
  'a batch of a plan and a task': [planning, plan('c'), finish(1)],
  'a batch of a plan and a failure': [planning, plan('c'), finish(1, 'failed')],
  'the end of a plan and the last task': [[...planning, claim(2), finish(1)], finish(0), finish(2)],
  'the end of a plan and its ended lease': [[...planning, crash(0)], finish(0), expire(0)],
  'a batch of a plan and its ended lease': [[...planning, crash(0)], plan('c'), expire(0)],
  'a deadline and the first claim': [expiring, sweepJobs, claim(0)],
  'the longest runtime and the last finish': [[...tooLong, finish(0)], sweepJobs, finish(1)],
  'two sweeps of a due job': [scheduled, sweepJobs, sweepJobs],
  'a due job and a new time': [scheduled, sweepJobs, reschedule],
  'two retries': [failed, retry, retry],
  'a retry and retention': [failed, retry, forget],
  'a retry and a stale finish': [failed, retry, finish(1)],
  'two turns': [finalizing, take, take],
  'an old and a new turn that end': [[...turned, takeAnew], end(0), end(1, true)],
  'a turn of an earlier generation and one of this': [
    [...turned, takeAnew, end(0, true), retry, takeAnew],
    end(2, true),
    store(),
  ],
  'a turn that stores and one that is taken': [turned, store(), end()],
  'two looks for exits': [[submit({ hook: true }), ...complete(2)], takeExits, takeExits],
  'a stop and a look for exits': [halting, stopped(), takeExits],
  'a retry and the end of an exit': [exiting, retry, endExit()],
  'retention and the end of an exit': [exiting, forget, endExit()],
  'an old and a new turn of an exit': [[...exiting, takeExitsAnew], endExit(0), endExit(1)],
  'an old turn of an exit and one that is taken': [exiting, endExit(), takeExitsAnew],
  'a turn of the exit of an earlier generation and one of this': [
    [...exiting, endExit(), retry, cancel, takeExitsAnew],
    endExit(0),
    endExit(1),
  ],
  'a repair and the last finish': [lastOne({ finalize: true }), repair, finish(1)],
  'a repair and a batch of a plan': [planning, repair, plan('c')],
};

export const RACES: Race[] = [
  ...Object.entries(AGAINST_CANCEL).map(([name, [before, second]]) => ({
    name: `a cancel and ${name}`,
    before,
    first: cancel,
    second,
  })),
  ...Object.entries(OTHERS).map(([name, [before, first, second]]) => ({ name, before, first, second })),
];
