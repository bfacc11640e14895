/** Every state of a task. */
export const TASK_STATUSES = [
  'queued',
  'active',
  'retrying',
  'paused',
  'completed',
  'failed',
  'canceled',
] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

/** What can happen to a task. `expire`: the lease of its attempt ended; `hand-back`: its worker stops. */
export type TaskEvent =
  'claim' | 'complete' | 'fail' | 'retry' | 'hand-back' | 'expire' | 'cancel' | 'reopen';

/** The state machine of a task; see JOB_TRANSITIONS. */
export const TASK_TRANSITIONS: Record<TaskEvent, Partial<Record<TaskStatus, TaskStatus>>> = {
  claim: { queued: 'active', retrying: 'active', paused: 'active' },
  complete: { active: 'completed' },
  fail: { active: 'failed' },
  retry: { active: 'retrying' },
  'hand-back': { active: 'paused' },
  expire: { active: 'queued' },
  cancel: { queued: 'canceled', active: 'canceled', retrying: 'canceled', paused: 'canceled' },
  reopen: { failed: 'queued', canceled: 'queued' },
};

const FINAL_TASK_STATUSES = ['completed', 'failed', 'canceled'] as const satisfies readonly TaskStatus[];

/** Whether a task in this state has ended. */
export function isFinalTaskStatus(status: TaskStatus): boolean {
  return (FINAL_TASK_STATUSES as readonly TaskStatus[]).includes(status);
}

/** The state that `event` leads to from `from`, or undefined when it is refused there. */
export function nextTaskStatus(from: TaskStatus, event: TaskEvent): TaskStatus | undefined {
  return TASK_TRANSITIONS[event][from];
}

/** The states in which `event` is accepted: the guard of the statement that writes it. */
export function taskSourcesOf(event: TaskEvent): TaskStatus[] {
  return TASK_STATUSES.filter((status) => TASK_TRANSITIONS[event][status] !== undefined);
}
