import { effect, event, post, seen } from './clean-evidence.js';
import type { Evidence } from './evidence.js';
import type { Rule } from './checks/violation.js';

/** Ways to break a clean run, each with the one promise that it breaks. */
export const PLANTED: [rule: Rule, plant: (evidence: Evidence) => void][] = [
  [
    'lost',
    ({ history }) =>
      history.push({
        at: 15,
        kind: 'submitted',
        marker: 'm4',
        keyed: false,
        catalog: false,
        outcome: 'accepted',
        status: 201,
        jobId: 'gone',
      }),
  ],
  ['unfinished', ({ jobs }) => Object.assign(jobs[1] ?? {}, { ended: false })],
  ['phantom', ({ jobs }) => Object.assign(jobs[1] ?? {}, { marker: 'never asked for' })],
  ['phantom', ({ effects }) => effects.push({ ...effect(60, 'started', 'e9', 102), taskId: 'no task' })],
  ['phantom', ({ catalog }) => catalog.push(post('x.1', { id: 'no job' }, false))],
  [
    'doubled-submit',
    ({ jobs, events }) => {
      jobs.push({ ...jobs[1]!, id: 'job3', marker: 'm1', total: 0, canceled: 0 });
      events.push(
        ...events
          .filter(({ jobId, tasks }) => jobId === 'job2' && tasks.length === 0)
          .map((row) => ({ ...row, jobId: 'job3' })),
      );
    },
  ],
  [
    'cancel-undone',
    ({ history }) =>
      history.push({ at: 2100, kind: 'cancel', from: 2100, jobId: 'job', status: 200, jobStatus: null }),
  ],
  [
    'left-final',
    ({ history }) =>
      history.push({
        at: 450,
        kind: 'cancel',
        from: 440,
        jobId: 'job2',
        status: 409,
        jobStatus: 'completed',
      }),
  ],
  ['state-back', ({ history }) => history.push(seen(1500, 'active', 99, 4))],
  ['progress-back', ({ history }) => history.push(seen(1500, 'finalizing', 98, 4))],
  ['progress-back', ({ history }) => history.push(seen(1500, 'finalizing', 99, 3))],
  ['progress-false', ({ history }) => history.splice(-1, 0, seen(1500, 'finalizing', 100, 4))],
  ['second-ending', ({ events }) => events.push(event(20, 6, 'job.completed'))],
  ['no-ending', ({ events }) => events.splice(7, 1)],
  ['illegal-step', ({ events }) => events.splice(1, 1)],
  ['accepted-twice', ({ events }) => events.push(event(6.5, 4, 'tasks.completed', { fence: 2 }))],
  ['stale-accepted', ({ events }) => events.splice(5, 0, event(5.5, 3, 'tasks.retrying', { fence: 1 }))],
  [
    'fence-repeated',
    ({ events }) => events.splice(5, 0, event(5.5, 3, 'tasks.active', { fence: 2, actor: 'worker:w2' })),
  ],
  ['accepted-late', ({ events }) => events.push(event(21, 6, 'tasks.paused', { fence: 2 }))],
  ['result-unknown', ({ tasks }) => Object.assign(tasks[0] ?? {}, { execution: 'e1' })],
  [
    'overlap',
    ({ history }) =>
      history.splice(
        history.findIndex(({ kind }) => kind === 'process'),
        1,
      ),
  ],
  [
    'unclaimed',
    ({ effects }) => effects.push(effect(800, 'started', 'e8', 102), effect(810, 'aborted', 'e8', 102)),
  ],
  [
    'ran-canceled',
    ({ effects }) =>
      effects.splice(3, 1, { ...effect(5000, 'started', 'e3', 102), jobId: 'job2', taskId: 'task2' }),
  ],
  ['double-finalize', ({ catalog }) => catalog.push(post('job.1', { id: 'job', other: true }, false))],
  ['double-finalize', ({ catalog }) => catalog.push(post('job.1', { id: 'job' }, true))],
  ['finalized-wrongly', ({ catalog }) => catalog.push(post('job2.1', { id: 'job2' }, false))],
  ['not-finalized', ({ catalog }) => catalog.splice(0)],
  ['left-open', ({ dispatch }) => dispatch.push({ id: 'task', kind: 'task', jobId: 'job' })],
  ['left-open', ({ tasks }) => tasks.push({ ...tasks[1]!, id: 'plan', kind: 'plan', status: 'active' })],
  ['wrong-count', ({ jobs }) => Object.assign(jobs[1] ?? {}, { canceled: 0 })],
  ['wrong-count', ({ jobs }) => Object.assign(jobs[0] ?? {}, { outcome: null })],
];
