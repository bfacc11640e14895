import { type JobFailure, outcomeOfLostLease } from '@app/core';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { claimTasks } from '@app/engine/store/claim-tasks.js';
import { commitEffect, StaleFenceError } from '@app/engine/store/commit-effect.js';
import { type DueTask, noteSent, takeDueTasks } from '@app/engine/store/dispatch.js';
import { type FinishMember, finishTasks } from '@app/engine/store/finish-tasks.js';
import { openGates } from '@app/engine/store/held-tasks.js';
import { renewLeases } from '@app/engine/store/renew-leases.js';
import { reportProgress, saveCheckpoint } from '@app/engine/store/task-progress.js';
import { type Call, LIFE, makeAllDue, saysBusy } from './call.js';
import { type Ending, findTask, type Grant, isEnded, type Model } from './model.js';
import {
  addPlanned,
  checkpoint,
  claim,
  commit,
  type Delivered,
  finish,
  progress,
  renew,
} from './task-moves.js';

const WORKER = '00000000-0000-4000-8000-000000000001';
/** Longer than any run: a lease ends only where a test ends it. */
const LEASE = 3_600_000;

export const claimCall = (members: Delivered[]): Call => ({
  label: `claim ${members.map(({ taskId, nonce, epoch }) => `${taskId} (nonce ${nonce}${epoch === undefined ? '' : `, message ${epoch}`})`).join(', ')}`,
  expect: (model) => claim(model, members),
  again: saysBusy,
  perform: async (client) => {
    const results = await claimTasks(client, members, WORKER, LEASE);
    const answers = [...results].map(([taskId, result]) => {
      if (result.kind !== 'claimed') return [taskId, result];
      const { fence, attempt, generation, checkpoint, payload } = result.task;
      return [taskId, { kind: 'claimed', fence, attempt, generation, checkpoint, payload }];
    });
    return Object.fromEntries(answers);
  },
});

export const progressCall = (grant: Grant, percent: number, detail: string | undefined): Call => ({
  label: `progress ${grant.taskId}:${grant.fence} ${percent} ${detail ?? ''}`,
  expect: (model) => (progress(model, grant, percent, detail), []),
  again: (busy) => (busy as unknown[]).length > 0,
  perform: async (client) => {
    const { taskId, fence } = grant;
    const member = { taskId, fence, percent, ...(detail === undefined ? {} : { detail }) };
    return [...(await reportProgress(client, [member]))];
  },
});

export const checkpointCall = (grant: Grant, data: string): Call => ({
  label: `checkpoint ${grant.taskId}:${grant.fence} ${data}`,
  expect: (model) => checkpoint(model, grant, data),
  perform: (client) => saveCheckpoint(client, grant, data),
});

export const renewCall = (grants: Grant[]): Call => ({
  label: `renew ${grants.map(({ taskId, fence }) => `${taskId}:${fence}`).join(', ')}`,
  expect: (model) => renew(model, grants),
  again: saysBusy,
  perform: async (client) => Object.fromEntries(await renewLeases(client, WORKER, grants, LEASE)),
});

export const commitCall = (grant: Grant, key: string, gives: string): Call => ({
  label: `commit ${grant.taskId}:${grant.fence} ${key}`,
  expect: (model) => commit(model, grant, key, gives),
  perform: async (client) => {
    try {
      return await commitEffect(client, grant, key, async (tx) => {
        await tx.execute(
          'INSERT INTO model_effects VALUES ($1::uuid, $2::int, $3, $4)',
          grant.taskId,
          grant.generation,
          key,
          gives,
        );
        return gives;
      });
    } catch (error) {
      if (error instanceof StaleFenceError) return 'stale';
      throw error;
    }
  },
});

export function planCall(grant: Grant, inputs: { taskId: string; key: string }[], at?: string): Call {
  const options = { actor: 'worker:test' };
  const rows = inputs.map(({ taskId, key }) => ({ taskId, key, payload: { key } }));
  return {
    label: `plan ${grant.taskId}:${grant.fence} ${inputs.map(({ key }) => key).join(',')} at ${at ?? 'nothing'}`,
    expect: (model) => addPlanned(model, grant, inputs, at),
    perform: async (client) => {
      const more = at === undefined ? options : { ...options, checkpoint: at };
      return (await addPlannedTasks(client, grant, rows, more)) ?? null;
    },
  };
}

const failureOf = (message: string): JobFailure => ({ code: 'handler_error', message });

function memberOf({ error, ...ending }: Ending): FinishMember {
  const failed = error === undefined ? {} : { error: failureOf(error.replace('handler_error ', '')) };
  return { ...ending, ...failed, delayMs: 0 };
}

const answersOf = (results: Awaited<ReturnType<typeof finishTasks>>) =>
  Object.fromEntries(
    [...results].map(([id, { kind, jobStatus }]) => [id, kind === 'applied' ? `applied ${jobStatus}` : kind]),
  );

/** @param wait for a job that is locked, as a worker does after some tries. */
export const finishCall = (endings: Ending[], wait = false): Call => ({
  label: `finish ${endings.map((one) => `${one.taskId}:${one.fence} ${one.status}${one.expired ? ' expired' : ''}`).join(', ')}`,
  expect: (model) => finish(model, endings),
  again: saysBusy,
  perform: async (client) => answersOf(await finishTasks(client, endings.map(memberOf), 'worker:test', wait)),
});

/** A worker dies or is cut off: the leases of its attempts end. */
export const crashCall = (grants: Grant[]): Call => ({
  label: `crash of ${grants.map(({ taskId, fence }) => `${taskId}:${fence}`).join(', ')}`,
  expect: (model) => {
    for (const { taskId } of grants) {
      const task = findTask(model, taskId)?.task;
      if (task?.status === 'active') task.lease = 'ended';
    }
    return null;
  },
  perform: async (client) => {
    const ids = grants.map(({ taskId }) => taskId);
    await client.$executeRaw`UPDATE tasks SET lease_until = clock_timestamp() - interval '1 minute'
      WHERE id = ANY(${ids}::uuid[]) AND status = 'active'`;
    return null;
  },
});

/** What a sweeper does about tasks: sends again what was sent, holds what was not, and judges attempts whose lease has ended. */
export const sweepCall = (): Call => ({
  label: 'sweep tasks',
  expect: (model) => {
    const open = [...model.jobs.values()]
      .filter(({ status }) => status === 'queued' || status === 'active')
      .flatMap((job) => job.tasks.filter((task) => !isEnded(task)));
    const waiting = open.filter(({ status }) => status !== 'active');
    const namesOf = (gate: string) =>
      waiting
        .filter((task) => task.gate === gate)
        .map(({ id, epoch }) => `${id} ${epoch}`)
        .toSorted();
    const [sent, held] = [namesOf('sent'), namesOf('unsent')];
    for (const task of waiting) if (task.gate === 'unsent') task.gate = 'held';
    const ended = open.filter(({ lease }) => lease === 'ended').map(({ id }) => judge(model, id));
    return { sent, held, ended: finish(model, ended) };
  },
  perform: async (client) => {
    await makeAllDue(client);
    const due = await takeDueTasks(client, 100, 0);
    const ended = due.filter(({ leaseEnded }) => leaseEnded).map(judged);
    const results = ended.length > 0 ? await finishTasks(client, ended, 'sweeper') : new Map();
    const open = due.filter(({ leaseEnded, held }) => !leaseEnded && !held);
    if (open.length > 0) await noteSent(client, open, LIFE);
    const held = due.filter((task) => task.held);
    return { sent: messagesOf(open), held: messagesOf(held), ended: answersOf(results) };
  },
});

const messagesOf = (tasks: DueTask[]) => tasks.map(({ taskId, epoch }) => `${taskId} ${epoch}`).toSorted();

/** The turn of every task has come that waits for it. */
export const admitCall = (model: Model): Call => {
  const ids = heldTasks(model).map(({ id }) => id);
  return {
    label: `admit ${ids.join(', ')}`,
    expect: (now) => {
      const open = heldTasks(now).filter(({ id }) => ids.includes(id));
      for (const task of open) task.gate = 'sent';
      return open.map(({ id }) => id).toSorted();
    },
    perform: async (client) => {
      const tasks = ids.map((taskId) => ({ taskId, counted: false }));
      const admitted = await openGates(client, tasks, LIFE, 0);
      return admitted.map(({ taskId }) => taskId).toSorted();
    },
  };
};

const heldTasks = (model: Model) =>
  [...model.jobs.values()]
    .filter(({ status }) => status === 'queued' || status === 'active')
    .flatMap((job) => job.tasks.filter((task) => !isEnded(task) && task.gate === 'held'));

/**
 * As the design says it: a resumable task pays nothing for an ended lease, another an attempt. Both are suspects, for
 * the worker of these tests beats no heart.
 */
function judge(model: Model, taskId: string): Ending {
  const { job, task } = findTask(model, taskId)!;
  const base = { taskId, fence: task.fence, expired: true, suspicion: 'raised' as const };
  if (job.resumable) return { ...base, status: 'queued', charged: false };
  const status = task.attempt >= job.maxAttempts ? 'failed' : 'retrying';
  return { ...base, status, charged: true, error: 'crashed' };
}

/** As the engine's sweeper does it. */
function judged(task: DueTask): FinishMember {
  const outcome = outcomeOfLostLease({ ...task, backoff: { kind: 'fixed', baseMs: 0, capMs: 0 } });
  const { status } = outcome;
  const error = 'error' in outcome ? { error: outcome.error } : {};
  return {
    taskId: task.taskId,
    fence: task.fence,
    status,
    delayMs: 0,
    charged: status !== 'queued',
    expired: true,
    ...(task.workerDead ? { suspicion: 'raised' as const } : {}),
    ...error,
  };
}
