import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { v7 } from 'uuid';
import type { PrismaClient } from '@app/platform/prisma/database.js';
import { withClient } from '@app/platform/prisma/open-client.js';
import { sqlState } from '@app/platform/prisma/sql-errors.js';
import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { admitTasks } from '@app/engine/store/admit-tasks.js';
import { registerWorker } from '@app/engine/store/worker-records.js';
import { addPlannedTasks } from '@app/engine/store/add-planned-tasks.js';
import { cancelJob } from '@app/engine/store/cancel-job.js';
import type { ClaimedTask } from '@app/engine/store/claim-tasks.js';
import { noteSent, takeDueTasks } from '@app/engine/store/dispatch.js';
import { endFinalization, takeDueFinalizations } from '@app/engine/store/finalization.js';
import { type FinishMember, finishTasks } from '@app/engine/store/finish-tasks.js';
import { renewLeases } from '@app/engine/store/renew-leases.js';
import { repairJobs } from '@app/engine/store/repair-jobs.js';
import { retryJob } from '@app/engine/store/retry-job.js';
import { reportProgress, saveCheckpoint } from '@app/engine/store/task-progress.js';
import { brokenRules } from './invariants.js';
import {
  claimAll,
  endLeases,
  ending,
  LEASE,
  LIFE,
  newJob,
  openStore,
  OWNER,
  type Store,
  WORKER,
} from './store-fixture.js';

jest.setTimeout(60_000);

const JOBS = 40;
const WALKERS = 4;
/** Milliseconds of disorder, before what is left is brought to its end. */
const DISORDER = 3000;
/** Room for some of the tasks: the others wait for their turn. */
const CROWD = { id: WORKER, host: 'here', pid: 1, slots: 20 };
const ADMISSION = {
  by: WORKER,
  waiting: new Map([['default', 0]]),
  limits: new Map([['test.type', { concurrency: 30, rate: undefined, oneByOne: false }]]),
  perOwner: undefined,
  leaseMs: LEASE,
  incarnation: LIFE,
};
const FIRST = '00000000-0000-0000-0000-000000000000';

/** A random number generator with a seed, so that a bad run can be told and tried again. */
function dice(seed: number) {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const below = (n: number) => Math.floor(next() * n);
  return {
    next,
    below,
    some: <T>(all: T[], most: number) => all.filter(() => next() < most / (all.length || 1)),
  };
}

let store: Store;
beforeAll(async () => {
  store = await openStore(WALKERS);
});
afterAll(async () => {
  await store.close();
});

/** Workers, users and sweepers at once; each keeps the claims that it was given, also those that it has lost. */
class Walker {
  readonly held = new Map<string, ClaimedTask>();
  private planned = 0;

  constructor(
    readonly client: PrismaClient,
    private readonly jobs: NewJob[],
    private readonly roll: ReturnType<typeof dice>,
  ) {}

  async step(): Promise<void> {
    const luck = this.roll.below(100);
    if (luck < 35) await this.claim();
    else if (luck < 60) await this.finish();
    else if (luck < 72) await this.report();
    else if (luck < 80) await this.plan();
    else if (luck < 86) await renewLeases(this.client, WORKER, [...this.held.values()], LEASE);
    else if (luck < 90) await this.sweep();
    else if (luck < 93) await this.finalize(3);
    else if (luck < 96) await this.break();
    else if (luck < 97) await this.cancel();
    else if (luck < 98) await this.retry();
    else await this.repair();
  }

  async claim(most = 8): Promise<void> {
    const open = await this.client.$queryRaw<{ id: string }[]>`
      SELECT d.id::text AS id FROM dispatch d WHERE d.kind <> 'finalize' ORDER BY random() LIMIT ${most}`;
    const claimed = await claimAll(
      this.client,
      open.map((row) => row.id),
    );
    for (const task of claimed) this.held.set(task.taskId, task);
  }

  async finish(all = false): Promise<void> {
    const tasks = all ? [...this.held.values()] : this.roll.some([...this.held.values()], 6);
    const members = tasks.map((task): FinishMember => {
      const luck = all ? 0 : this.roll.below(100);
      if (luck < 65) return ending(task, 'completed', { result: { luck } });
      if (luck < 80) return ending(task, 'retrying', { delayMs: luck });
      if (luck < 90) return ending(task, 'paused');
      return luck < 93 ? ending(task, 'failed') : ending({ ...task, fence: task.fence - 1 });
    });
    const results = await finishTasks(this.client, members, 'worker:test', all && members.length === 1);
    for (const [taskId, { kind }] of results) if (kind !== 'busy') this.held.delete(taskId);
  }

  private async report(): Promise<void> {
    const tasks = this.roll.some([...this.held.values()], 6);
    const members = tasks.map((task) => ({ ...task, percent: this.roll.below(101), detail: 'on the way' }));
    await reportProgress(this.client, members);
    if (tasks[0]) await saveCheckpoint(this.client, tasks[0], { at: members[0]!.percent });
  }

  private async plan(): Promise<void> {
    const plan = [...this.held.values()].find((task) => task.kind === 'plan');
    if (!plan) return;
    const keys = Array.from({ length: 5 }, () => `${this.planned++ % 30}`);
    const inputs = keys.map((key) => ({ taskId: v7(), key, payload: null }));
    const options = { actor: 'worker:test', checkpoint: keys };
    await addPlannedTasks(this.client, plan, inputs, options);
  }

  private async sweep(): Promise<void> {
    const due = await takeDueTasks(this.client, 50, 0);
    const ended = due.filter((task) => task.leaseEnded);
    const expired = ended.map((task) => ending(task, 'queued', { expired: true }));
    await finishTasks(this.client, expired, 'sweeper');
    await noteSent(
      this.client,
      due.filter((task) => !task.leaseEnded && !task.held),
      LIFE,
    );
    await admitTasks(this.client, ADMISSION);
  }

  async finalize(limit: number): Promise<number> {
    const turns = await takeDueFinalizations(this.client, limit, LEASE);
    for (const turn of turns) await endFinalization(this.client, turn, 'worker:test', null);
    return turns.length;
  }

  /** Leases end, and what is to be looked at comes due. */
  private async break(): Promise<void> {
    await endLeases(this.client, this.roll.some([...this.held.keys()], 3));
    await this.client.$executeRaw`UPDATE dispatch SET look_again_at = clock_timestamp()
      WHERE id IN (SELECT id FROM dispatch WHERE gate IS DISTINCT FROM 'held' ORDER BY random() LIMIT 30 FOR UPDATE SKIP LOCKED)`;
  }

  private async cancel(): Promise<void> {
    await cancelJob(this.client, OWNER, this.anyJob(), { actor: 'key:test' });
  }

  private async retry(): Promise<void> {
    await retryJob(this.client, OWNER, this.anyJob(), { actor: 'key:test' });
  }

  /** Nothing drifts, so there is nothing to mend. */
  private async repair(): Promise<void> {
    expect(await repairJobs(this.client, FIRST, 50)).toMatchObject({ drifted: 0, orphans: 0 });
  }

  private anyJob(): string {
    return this.jobs[this.roll.below(this.jobs.length)]!.jobId;
  }
}

describe('a crowd of workers, users and sweepers', () => {
  test('breaks no rule and meets no deadlock, and all that is left comes to its end', async () => {
    const seed = Number(process.env['LONGHAUL_TEST_SEED'] ?? Date.now() % 1_000_000);
    const jobs = Array.from({ length: JOBS }, (_, n) =>
      newJob({
        plan: n % 4 === 0,
        tasks: 1 + (n % 12),
        finalize: n % 3 === 0,
        failurePolicy: n % 5 === 0 ? 'continue' : 'fail-fast',
      }),
    );
    await acceptJobs(store.clients[0]!, jobs, LIFE);
    await registerWorker(store.clients[0]!, { ...CROWD, queues: ['default'], tags: [], types: {} });
    const walkers = store.clients.map((client, n) => new Walker(client, jobs, dice(seed + n)));
    const end = performance.now() + DISORDER;
    const errors: string[] = [];
    await Promise.all(
      walkers.map(async (walker) => {
        while (performance.now() < end) {
          await walker.step().catch((error: Error) => errors.push(`${sqlState(error)} ${error.message}`));
        }
      }),
    );
    const [client] = store.clients as [PrismaClient];
    expect({ seed, errors, broken: await brokenRules(client) }).toEqual({ seed, errors: [], broken: [] });

    await settle(new Walker(client, jobs, dice(seed)));
    const open = await client.job.count({ where: { finishedAt: null } });
    expect({ seed, open, broken: await brokenRules(client) }).toEqual({ seed, open: 0, broken: [] });
    expect({ seed, deadlocks: await deadlocks() }).toEqual({ seed, deadlocks: 0 });
  });
});

/** Ends all leases, and claims and completes what is open until nothing is. */
async function settle(walker: Walker): Promise<void> {
  const { client } = walker;
  for (let turn = 0; turn < 200; turn++) {
    const active = await client.task.findMany({ where: { status: 'active' } });
    await endLeases(
      client,
      active.map(({ id }) => id),
    );
    const members = active.map(({ id, fence }) => ending({ taskId: id, fence }, 'queued', { expired: true }));
    await finishTasks(client, members, 'sweeper');
    await walker.claim(500);
    await walker.finish(true);
    await client.$executeRaw`UPDATE dispatch SET look_again_at = clock_timestamp()`;
    const ended = await walker.finalize(100);
    if (ended === 0 && (await client.dispatch.count()) === 0) return;
  }
}

/** Those that Postgres has counted; a connection tells what it has seen when it is closed at the latest. */
async function deadlocks(): Promise<number> {
  await Promise.all(store.clients.map((client) => client.$disconnect()));
  return withClient(store.url, async (client) => {
    const [row] = await client.$queryRaw<{ n: number }[]>`
      SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()`;
    return row!.n;
  });
}
