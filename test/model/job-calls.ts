import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { repairJobs } from '@app/engine/store/repair-jobs.js';
import { deleteOldKeys } from '@app/engine/store/idempotency-keys.js';
import { deleteOldJobs } from '@app/engine/store/retention.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { failOverdueJobs, rescheduleJob, startDueJobs, takeDueJobs } from '@app/engine/store/timed-jobs.js';
import { type Call, LIFE, makeAllDue, OWNER } from './call.js';
import {
  accept,
  cancel,
  expireKeys,
  forget,
  forgetKeys,
  type JobSpec,
  reschedule,
  retry,
  sweepJobs,
} from './job-moves.js';
import type { Instant, ModelJob } from './model.js';

const HOUR = 3_600_000;
const FIRST = '00000000-0000-0000-0000-000000000000';
const instant = (of: Instant, ahead = HOUR) =>
  of === 'none' ? null : new Date(Date.now() + (of === 'ahead' ? ahead : -HOUR));

export function submit(spec: JobSpec): Call {
  const {
    plan,
    units,
    policy,
    maxAttempts,
    resumable,
    finalize,
    limited,
    hook,
    direct,
    runAt,
    expires,
    key,
  } = spec;
  const told = [plan ? 'plan' : `${units.length} tasks`, policy, `attempts ${maxAttempts}`];
  if (resumable) told.push('resumable');
  if (finalize) told.push('finalize');
  if (limited) told.push('limited');
  if (direct > 0) told.push(`${direct} sent`);
  if (hook) told.push('hook');
  if (runAt !== 'none') told.push(`runAt ${runAt}`);
  if (expires !== 'none') told.push(`expires ${expires}`);
  if (key) told.push(`key ${key.key}/${key.hash}`);
  // Made when it is sent: instants are told from now.
  const job = (): NewJob => ({
    jobId: spec.jobId,
    ownerId: OWNER,
    actor: 'key:test',
    type: 'test.type',
    payloadVersion: 1,
    queue: 'default',
    failurePolicy: policy,
    maxAttempts,
    resumable,
    finalize,
    exitHook: hook,
    runAt: instant(runAt),
    // Never before the job is due, which a submit refuses.
    expiresAt: instant(expires, 2 * HOUR),
    maxRuntimeMs: limited ? HOUR : null,
    payload: { job: spec.jobId },
    labels: null,
    searchable: [],
    catalog: null,
    notify: null,
    units: units.map((taskId, at) => {
      const kind = plan ? 'plan' : 'task';
      return { taskId, kind, position: plan ? -1 : at, key: null, payload: null };
    }),
    dedupe: [],
    priority: 0,
    rank: 0,
    direct: runAt === 'none' ? direct : 0,
    idempotency: key && { key: key.key, bodyHash: key.hash },
  });
  return {
    label: `submit ${spec.jobId} (${told.join(', ')})`,
    expect: (model) => accept(model, spec),
    perform: async (client) => {
      const [answer] = await acceptJobs(client, [job()], LIFE);
      return answer && { kind: answer.kind, ...('jobId' in answer && { jobId: answer.jobId }) };
    },
  };
}

export const cancelCall = ({ id }: ModelJob): Call => ({
  label: `cancel ${id}`,
  expect: (model) => cancel(model, id),
  perform: async (client) => (await cancelJob(client, OWNER, id, { actor: 'key:test' })) ?? null,
});

export const retryCall = ({ id }: ModelJob): Call => ({
  label: `retry ${id}`,
  expect: (model) => retry(model, id),
  perform: async (client) => (await retryJob(client, OWNER, id, { actor: 'key:test' })) ?? null,
});

export const rescheduleCall = ({ id }: ModelJob, to: Instant): Call => ({
  label: `reschedule ${id} ${to}`,
  expect: (model) => reschedule(model, id, to),
  perform: async (client) =>
    (await rescheduleJob(client, OWNER, id, instant(to) ?? new Date(), 'key:test')) ?? null,
});

/** All times of a job pass: that at which it is due, its deadline, and the longest that it may run. */
export const timePasses = ({ id }: ModelJob): Call => ({
  label: `time passes for ${id}`,
  expect: (model) => {
    const job = model.jobs.get(id);
    if (!job) return null;
    if (job.runAt !== 'none') job.runAt = 'over';
    if (job.expires !== 'none') job.expires = 'over';
    if (job.started) job.tooLong = true;
    return null;
  },
  perform: async (client) => {
    await client.$executeRaw`
      UPDATE jobs SET run_at = run_at - interval '2 days', expires_at = expires_at - interval '2 days',
        started_at = started_at - interval '2 days' WHERE id = ${id}::uuid`;
    return null;
  },
});

/**
 * What a sweeper does about jobs, in its order.
 * @param anew whether what waits for its time is made to come first.
 */
export const sweepJobsCall = (anew = true): Call => ({
  label: 'sweep jobs',
  expect: sweepJobs,
  perform: async (client) => {
    if (anew) await makeAllDue(client);
    const due = await takeDueJobs(client, 100);
    const idsOf = (kind: string) => due.filter((job) => job.kind === kind).map(({ jobId }) => jobId);
    const [starting, overdue] = [idsOf('start'), idsOf('deadline')];
    const failed = overdue.length > 0 ? await failOverdueJobs(client, overdue) : [];
    const tasks = starting.length > 0 ? await startDueJobs(client, starting) : 0;
    return { failed: failed.map(({ jobId, generation }) => `${jobId} ${generation}`).toSorted(), due: tasks };
  },
});

export const expireKeysCall = (): Call => ({
  label: 'a day passes for the keys',
  expect: expireKeys,
  perform: async (client) => {
    await client.$executeRaw`UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'`;
    return null;
  },
});

export const forgetKeysCall = (): Call => ({
  label: 'forget what keys have expired',
  expect: forgetKeys,
  perform: (client) => deleteOldKeys(client, 100),
});

/** Everything that has ended, its exit too, is forgotten; not a row of it may stay but its key. */
export const forgetCall = (): Call => ({
  label: 'forget what has ended',
  expect: forget,
  again: (deleted) => deleted === 0,
  perform: (client) => deleteOldJobs(client, -HOUR, 100),
});

/** A tick of the syncer finds nothing to mend: that is the assertion. */
export const repairCall = (): Call => ({
  label: 'repair',
  expect: () => ({ drifted: 0, orphans: 0 }),
  perform: async (client) => {
    const { drifted, orphans } = await repairJobs(client, FIRST, 100);
    return { drifted, orphans };
  },
});
