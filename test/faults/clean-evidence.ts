import type { Evidence, EventRow } from './evidence.js';
import type { HistoryLine } from './harness/history.js';
import type { EffectLine } from './job-types/effects.js';

/** A row of the ledger of `job`. */
export const event = (
  seq: number,
  version: number,
  kind: string,
  more: { actor?: string; fence?: number; task?: string } = {},
): EventRow => ({
  jobId: 'job',
  seq,
  generation: 1,
  version,
  kind,
  actor: more.actor ?? 'worker:w1',
  tasks:
    more.fence === undefined ? [] : [{ id: more.task ?? 'task', fence: more.fence, attempt: more.fence }],
});

/** What a handler did for `task`. */
export const effect = (at: number, what: EffectLine['what'], execution: string, pid = 101): EffectLine => ({
  at,
  what,
  execution,
  jobId: 'job',
  taskId: 'task',
  attempt: 1,
  pid,
});

/** A call of the Catalog. */
export const post = (key: string, body: object, applied: boolean) => ({
  at: '2026-11-25T00:00:00.000Z',
  method: 'POST',
  path: '/metadata',
  idempotencyKey: key,
  authorization: false,
  body: JSON.stringify(body),
  status: 201,
  applied,
});

/** What a reader saw of `job`. */
export const seen = (at: number, status: string, progress: number, version: number): HistoryLine => ({
  at,
  kind: 'seen',
  from: at - 5,
  jobId: 'job',
  status,
  progress,
  version,
});

const killed = (pid: number): HistoryLine => ({
  at: 300,
  kind: 'process',
  event: 'killed',
  pid,
  name: 'worker-1',
});

/**
 * A run in which nothing is wrong, though much happened: a job whose first attempt died with its worker, whose second
 * one was accepted, and of which the Catalog was told twice the same; and a job that was canceled while it ran.
 */
export function cleanEvidence(): Evidence {
  const job = { status: 'completed', generation: 1, planning: false, failed: 0, ended: true };
  const task = { kind: 'task', attempt: 2, crashes: 1 };
  return {
    history: [
      {
        at: 10,
        kind: 'submitted',
        marker: 'm1',
        keyed: true,
        catalog: true,
        outcome: 'accepted',
        status: 201,
        jobId: 'job',
      },
      {
        at: 12,
        kind: 'submitted',
        marker: 'm2',
        keyed: false,
        catalog: false,
        outcome: 'accepted',
        status: 201,
        jobId: 'job2',
      },
      {
        at: 14,
        kind: 'submitted',
        marker: 'm3',
        keyed: false,
        catalog: false,
        outcome: 'unknown',
        status: 503,
        jobId: null,
      },
      seen(50, 'active', 0, 2),
      killed(101),
      { at: 400, kind: 'cancel', from: 390, jobId: 'job2', status: 200, jobStatus: 'canceled' },
      seen(900, 'finalizing', 99, 4),
      // Asked before the answer that is noted above it: an older state is no contradiction.
      {
        ...seen(950, 'active', 50, 3),
        kind: 'seen',
        from: 800,
        jobId: 'job',
        status: 'active',
        progress: 50,
        version: 3,
      },
      seen(2000, 'completed', 100, 5),
    ],
    effects: [
      effect(60, 'started', 'e1'),
      effect(600, 'started', 'e2', 102),
      effect(700, 'finished', 'e2', 102),
      { ...effect(100, 'started', 'e3', 102), jobId: 'job2', taskId: 'task2' },
      { ...effect(420, 'aborted', 'e3', 102), jobId: 'job2', taskId: 'task2' },
    ],
    catalog: [post('job.1', { id: 'job' }, true), post('job.1', { id: 'job' }, false)],
    jobs: [
      {
        ...job,
        id: 'job',
        version: 5,
        progress: 100,
        marker: 'm1',
        total: 1,
        completed: 1,
        canceled: 0,
        outcome: 'completed',
      },
      {
        ...job,
        id: 'job2',
        version: 3,
        progress: 0,
        marker: 'm2',
        total: 1,
        completed: 0,
        canceled: 1,
        status: 'canceled',
        outcome: 'canceled',
      },
    ],
    tasks: [
      { ...task, id: 'task', jobId: 'job', status: 'completed', fence: 2, execution: 'e2' },
      { ...task, id: 'task2', jobId: 'job2', status: 'canceled', fence: 2, execution: null },
    ],
    events: [
      event(1, 1, 'job.queued', { actor: 'key:k' }),
      event(2, 2, 'job.active'),
      event(3, 2, 'tasks.active', { fence: 1 }),
      event(4, 3, 'tasks.retrying', { fence: 1, actor: 'sweeper' }),
      event(5, 3, 'tasks.active', { fence: 2, actor: 'worker:w2' }),
      event(6, 4, 'tasks.completed', { fence: 2, actor: 'worker:w2' }),
      event(7, 4, 'job.finalizing', { actor: 'worker:w2' }),
      event(8, 5, 'job.completed', { actor: 'worker:w2' }),
      { ...event(9, 1, 'job.queued'), jobId: 'job2' },
      { ...event(10, 2, 'tasks.active', { fence: 1, task: 'task2', actor: 'worker:w2' }), jobId: 'job2' },
      { ...event(11, 2, 'job.active'), jobId: 'job2' },
      { ...event(12, 3, 'job.canceled', { actor: 'key:k' }), jobId: 'job2' },
      { ...event(13, 3, 'tasks.canceled', { actor: 'key:k' }), jobId: 'job2' },
    ],
    dispatch: [],
    workers: [
      { id: 'w1', pid: 101 },
      { id: 'w2', pid: 102 },
    ],
  };
}
