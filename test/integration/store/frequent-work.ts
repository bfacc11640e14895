import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import { NIL as NONE } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { acceptJobs } from '@app/engine/store/accept-jobs.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { admitTasks, lookAtLeader, lookAtQueues } from '@app/engine/store/admit-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import { fenceLostStops, noteStops } from '@app/engine/store/cancel-stops.js';
import { claimTasks } from '@app/engine/store/claim-tasks.js';
import { commitEffect } from '@app/engine/store/commit-effect.js';
import { noticesToDo } from '@app/engine/store/deliveries.js';
import { LOOK_BACK_MS, lookAgain, noteSent, takeDueTasks } from '@app/engine/store/dispatch.js';
import { endExit, takeDueExits } from '@app/engine/store/exit-hooks.js';
import { endFinalization, takeDueFinalizations } from '@app/engine/store/finalization.js';
import { finishTasks } from '@app/engine/store/finish-tasks.js';
import { noteLateStarts } from '@app/engine/store/late-starts.js';
import { expandOutbox } from '@app/engine/store/outbox.js';
import { noteOverdueFinalizations } from '@app/engine/store/overdue-finalizations.js';
import { renewLeases } from '@app/engine/store/renew-leases.js';
import { repairJobs } from '@app/engine/store/repair-jobs.js';
import { resolveJob } from '@app/engine/store/resolve-job.js';
import { deleteOldJobs } from '@app/engine/store/retention.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { passByStrangeExits } from '@app/engine/store/strange-exits.js';
import { takeDueDeliveries } from '@app/engine/store/take-deliveries.js';
import { reportProgress, saveCheckpoint } from '@app/engine/store/task-progress.js';
import { tickSchedules } from '@app/engine/store/tick-schedules.js';
import {
  failOverdueJobs,
  rescheduleJob,
  startDueJobs,
  takeDueJobs,
  untilNextDue,
} from '@app/engine/store/timed-jobs.js';
import { readRoom } from '@app/engine/store/type-limits.js';
import { firings, schedulesOf } from './schedule-fixture.js';
import { admit, ending, finish, LEASE, LIFE, newJob, OWNER, running, WORKER } from './store-fixture.js';

/** What the engine does often, each on one small piece of work. */
export interface Work {
  /** Makes what it works on. */
  before?: (client: PrismaClient) => Promise<unknown>;
  /** Does it, and expects that it was done: what does nothing reads nothing. */
  act: (client: PrismaClient, made: never) => Promise<unknown>;
}

const HOUR = 3_600_000;
const BY = { actor: 'key:test' };
const ACTOR = 'worker:test';
const EXITS = [{ name: 'test.type', version: 1, graceMs: 0 }];
const ROOM = { limit: 10, perRecipient: 5, perOwner: 5, busy: [], walk: { from: '' } };
const FREE = { concurrency: undefined, rate: undefined, oneByOne: false };

type Options = Parameters<typeof newJob>[0];

const work = <T>(
  before: (client: PrismaClient) => Promise<T>,
  act: (client: PrismaClient, made: T) => Promise<unknown>,
) => ({ before, act }) as Work;
const look = (act: (client: PrismaClient) => Promise<unknown>) => ({ act }) as Work;

const some = (over: Options = {}) => {
  return async (client: PrismaClient) => {
    const job = newJob({ tasks: 3, ...over });
    await acceptJobs(client, [job], LIFE);
    return job;
  };
};
const taken = (client: PrismaClient) => running(client, { tasks: 3 });
const canceled = async (client: PrismaClient) => {
  const job = await taken(client);
  await cancelJob(client, OWNER, job.jobId, BY);
  return job;
};
const ended = (over: Options) => {
  return async (client: PrismaClient) => {
    const { jobId, tasks } = await running(client, over);
    await finish(client, ...tasks.map((task) => ending(task)));
    return { jobId };
  };
};
/** A job whose time, `run_at` or `expires_at`, has just come. */
const due = (column: 'run_at' | 'expires_at') => {
  return async (client: PrismaClient) => {
    const later = new Date(Date.now() + HOUR);
    const job = await some(column === 'run_at' ? { runAt: later } : { expiresAt: later })(client);
    await client.$executeRawUnsafe(`UPDATE jobs SET ${column} = now() WHERE id = $1::uuid`, job.jobId);
    return job;
  };
};
/** What a job waits for is looked at again now. */
const lookedAt = <T extends { jobId: string }>(make: (client: PrismaClient) => Promise<T>) => {
  return async (client: PrismaClient) => {
    const job = await make(client);
    await client.$executeRaw`
      UPDATE dispatch SET gate = NULL, look_again_at = now() - interval '1 s', since = now() - interval '1 hour'
      WHERE job_id = ${job.jobId}::uuid`;
    return job;
  };
};
const scheduled = async (client: PrismaClient) => {
  const { name } = await schedulesOf(client).create({ overlap: 'skip', checkinMarginMs: 0 });
  await client.$executeRaw`UPDATE schedules SET next_slot = now(), next_at = now() WHERE name = ${name}`;
};

export const FREQUENT: Record<string, Work> = {
  'accepting jobs': look(async (client) => {
    const dedupe = [{ scope: OWNER, key: randomUUID() }];
    const keyed = () => newJob({ idempotency: { key: randomUUID(), bodyHash: 'x' }, dedupe });
    const answers = await acceptJobs(client, [newJob({ tasks: 3 }), keyed(), keyed()], LIFE);
    expect(answers.map(({ kind }) => kind)).toEqual(['accepted', 'accepted', 'duplicate']);
  }),
  'claiming tasks': work(some(), async (client, { units }) => {
    const members = units.map(({ taskId }) => ({ taskId, nonce: randomUUID(), epoch: 1 }));
    const claims = await claimTasks(client, members, WORKER, LEASE, { 'test.type': 1 });
    expect([...claims.values()].map(({ kind }) => kind)).toEqual(['claimed', 'claimed', 'claimed']);
  }),
  'finishing tasks': work(taken, async (client, { tasks }) =>
    expect(await finish(client, ...tasks.map((task) => ending(task)))).toEqual(
      Array.from({ length: 3 }, () => 'applied'),
    ),
  ),
  'failing a task': work(taken, async (client, { jobId, tasks }) => {
    const ends = await finishTasks(client, [ending(tasks[0]!, 'failed')], ACTOR);
    expect([...ends.values()]).toMatchObject([{ kind: 'applied', jobId, jobStatus: 'failed' }]);
  }),
  'renewing leases': work(taken, async (client, { tasks }) => {
    const renewals = await renewLeases(client, WORKER, tasks, LEASE);
    expect(new Set(renewals.values())).toEqual(new Set(['renewed']));
  }),
  'reporting progress': work(taken, async (client, { tasks }) => {
    const busy = await reportProgress(
      client,
      tasks.map((task) => ({ ...task, percent: 40 })),
    );
    expect(busy).toEqual(new Set());
  }),
  'saving a checkpoint': work(taken, async (client, { tasks }) =>
    expect(await saveCheckpoint(client, tasks[0]!, { at: 1 })).toBe(true),
  ),
  'committing an effect': work(taken, async (client, { tasks }) =>
    expect(await commitEffect(client, tasks[0]!, 'key', async () => 1)).toBe(1),
  ),
  'adding planned tasks': work(
    (client) => running(client, { plan: true }),
    async (client, { tasks }) => {
      const inputs = [{ taskId: randomUUID(), key: randomUUID(), payload: 1 }];
      expect(await addPlannedTasks(client, tasks[0]!, inputs, { actor: ACTOR })).toBe(1);
    },
  ),
  'canceling a job': work(taken, async (client, { jobId }) =>
    expect(await cancelJob(client, OWNER, jobId, BY)).toMatchObject({ kind: 'canceled' }),
  ),
  'retrying a job': work(canceled, async (client, { jobId }) =>
    expect(await retryJob(client, OWNER, jobId, BY)).toMatchObject({ kind: 'retried' }),
  ),
  'noting stops': work(canceled, async (client, { tasks }) => {
    const notes = tasks.slice(1).map(({ taskId }) => ({ taskId, generation: 1, stage: 'stopped' as const }));
    await noteStops(client, notes);
    expect(await fenceLostStops(client, LEASE)).toBeGreaterThan(0);
  }),
  'looking for due tasks': work(
    async (client) => {
      // What others have left is not to be counted.
      await takeDueTasks(client, 500, LEASE);
      await lookedAt(some({ direct: 0 }))(client);
    },
    async (client) => expect(await takeDueTasks(client, 500, LEASE, LOOK_BACK_MS.short)).toHaveLength(3),
  ),
  'noting what was sent': work(some(), async (client, { units }) => {
    const sent = units.map(({ taskId, kind }) => ({ taskId, kind, queue: 'default', epoch: 1 }));
    await noteSent(client, sent, LIFE);
    expect(await lookAgain(client, sent, 60_000)).toBe(3);
  }),
  'looking for due jobs': work(lookedAt(due('run_at')), async (client, { jobId }) =>
    expect(await takeDueJobs(client, 500, LOOK_BACK_MS.short)).toContainEqual({ jobId, kind: 'start' }),
  ),
  'starting a due job': work(due('run_at'), async (client, { jobId }) =>
    expect(await startDueJobs(client, [jobId])).toBe(3),
  ),
  'moving a job to another time': work(
    some({ runAt: new Date(Date.now() + HOUR) }),
    async (client, { jobId }) =>
      expect(await rescheduleJob(client, OWNER, jobId, new Date(Date.now() + 2 * HOUR), 'key:test')).toEqual({
        kind: 'rescheduled',
      }),
  ),
  'failing an overdue job': work(due('expires_at'), async (client, { jobId }) =>
    expect(await failOverdueJobs(client, [jobId])).toMatchObject([{ jobId }]),
  ),
  'looking for the next due time': look(async (client) =>
    expect(await untilNextDue(client, HOUR)).toBeLessThan(HOUR),
  ),
  'looking at the queues': look(async (client) => {
    await lookAtLeader(client, WORKER, LEASE);
    expect(await lookAtQueues(client, ['default', 'other'], LEASE)).toHaveLength(2);
    await readRoom(client, new Map(), undefined);
  }),
  'admitting tasks': work(some({ direct: 0 }), async (client) => {
    const admission = await admitTasks(client, {
      by: WORKER,
      waiting: new Map([['default', 0]]),
      limits: new Map([['test.type', FREE]]),
      perOwner: undefined,
      leaseMs: LEASE,
      incarnation: LIFE,
    });
    expect(admission?.admitted.length).toBeGreaterThanOrEqual(3);
  }),
  'opening gates': work(some({ direct: 0 }), async (client, { units }) => {
    const ids = units.map(({ taskId }) => taskId);
    expect(await admit(client, ids)).toHaveLength(3);
  }),
  'finalizing a job': work(ended({ finalize: true }), async (client, { jobId }) => {
    await noteOverdueFinalizations(client, HOUR, 10);
    const turns = await takeDueFinalizations(client, 10, LEASE, false);
    const turn = turns.find((each) => each.jobId === jobId);
    expect(await endFinalization(client, turn!, 'syncer', null)).toBe(true);
  }),
  'resolving a job': work(ended({ finalize: true }), async (client, { jobId }) => {
    const resolution = { status: 'completed' as const, reason: 'It is there.' };
    expect(await resolveJob(client, jobId, resolution, 'key:test')).toMatchObject({ kind: 'resolved' });
  }),
  'running an exit': work(ended({ exitHook: true }), async (client, { jobId }) => {
    const turns = await takeDueExits(client, EXITS, 10, LEASE);
    const turn = turns.find((each) => each.jobId === jobId);
    expect(await endExit(client, turn!, ACTOR, null)).toBe(true);
  }),
  'ending an exit that nobody knows': work(
    lookedAt(ended({ exitHook: true, type: 'test.strange' })),
    async (client, { jobId }) => {
      const policy = { dueMs: 0, pauseMs: 1000, passes: 0, limitMs: 1000, most: 10 };
      expect(await passByStrangeExits(client, EXITS, policy)).toContain(jobId);
    },
  ),
  'telling of an end': work(ended({ notify: { email: ['a@b.test'], on: ['completed'] } }), async (client) => {
    expect(await noticesToDo(client)).toMatchObject({ ends: true });
    expect(await expandOutbox(client, 100, { rate: 1000, windowMs: 1000 })).toBeGreaterThan(0);
    expect(await takeDueDeliveries(client, 'mail', ROOM, LEASE)).not.toEqual([]);
  }),
  'a tick of schedules': work(scheduled, async (client) =>
    expect(await tickSchedules(client, firings, { limit: 10 })).toMatchObject({ looked: 1 }),
  ),
  'noting a late start': work(
    async (client) => {
      await scheduled(client);
      await tickSchedules(client, firings, { limit: 10 });
    },
    async (client) => expect((await noteLateStarts(client, 100)).looked).toBeGreaterThan(0),
  ),
  'repairing a job': work(
    async (client) => {
      const { jobId } = await some()(client);
      await client.$executeRaw`DELETE FROM dispatch WHERE job_id = ${jobId}::uuid`;
      const [before] = await client.$queryRaw<{ id: string }[]>`
        SELECT id::text AS id FROM jobs WHERE finished_at IS NULL AND id < ${jobId}::uuid ORDER BY id DESC LIMIT 1`;
      return before?.id ?? NONE;
    },
    async (client, after) => expect(await repairJobs(client, after, 1)).toMatchObject({ orphans: 3 }),
  ),
  'deleting an old job': work(
    async (client) => {
      const { jobId } = await canceled(client);
      await client.$executeRaw`
        UPDATE jobs SET created_at = '2020-01-01', finished_at = '2020-01-02' WHERE id = ${jobId}::uuid`;
    },
    async (client) => expect(await deleteOldJobs(client, 24 * HOUR, 10)).toBe(1),
  ),
};
