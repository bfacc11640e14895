import { randomUUID } from 'node:crypto';
import { v7 } from 'uuid';
import { type JobFailure } from '@app/core';
import { withClient } from '@app/platform/prisma/open-client.js';
import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { openGates } from '@app/engine/store/held-tasks.js';
import { acceptJobs, type NewJob } from '@app/engine/store/accept-jobs.js';
import { type ClaimedTask, claimTasks } from '@app/engine/store/claim-tasks.js';
import type { Delivery } from '@app/engine/store/dispatch.js';
import { type Finish, type FinishMember, finishTasks } from '@app/engine/store/finish-tasks.js';
import { createTestDatabase } from '../../support/database.js';
import { eventually } from '../../support/eventually.js';

export const OWNER = 'alice';
export const WORKER = randomUUID();
export const LEASE = 60_000;
/** Of Redis; not empty, so that a new task is not due at once. */
export const LIFE = 'redis-1';

/** A database with clients of their own connections (two each), for statements that really run side by side. */
export interface Store {
  url: string;
  clients: PrismaClient[];
  close(): Promise<void>;
}

export async function openStore(count = 2): Promise<Store> {
  const database = await createTestDatabase();
  const opened = await Promise.all(Array.from({ length: count }, () => openClient(database.url)));
  return {
    url: database.url,
    clients: opened.map(({ client }) => client),
    close: async () => {
      await Promise.all(opened.map(({ close }) => close()));
      await database.drop();
    },
  };
}

/** A client of its own; closing it ends its connections. */
export async function openClient(url: string): Promise<{ client: PrismaClient; close(): Promise<void> }> {
  const over = gate();
  let used: Promise<void> | undefined;
  const client = await new Promise<PrismaClient>((resolve, reject) => {
    used = withClient(url, (opened) => {
      resolve(opened);
      return over.opened;
    });
    used.catch(reject);
  });
  return {
    client,
    close: async () => {
      over.open();
      await used;
    },
  };
}

/** A promise to wait for, and what lets it go. */
export function gate(): { opened: Promise<void>; open(): void } {
  let open: (() => void) | undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open?.() };
}

const unit = (kind: 'task' | 'plan', position: number) => ({
  taskId: v7(),
  kind,
  position,
  key: null,
  payload: null,
});

/** A job with tasks, or with a plan. */
export function newJob({
  tasks = 1,
  plan = false,
  ...over
}: Partial<NewJob> & { tasks?: number; plan?: boolean } = {}): NewJob {
  return {
    jobId: v7(),
    ownerId: OWNER,
    actor: 'key:test',
    type: 'test.type',
    payloadVersion: 1,
    queue: 'default',
    failurePolicy: 'fail-fast',
    maxAttempts: 3,
    resumable: false,
    dedupe: [],
    priority: 0,
    rank: 0,
    direct: 100_000,
    runAt: null,
    expiresAt: null,
    maxRuntimeMs: null,
    finalize: false,
    exitHook: false,
    payload: { of: 'job' },
    labels: null,
    searchable: [],
    catalog: null,
    notify: null,
    units: plan ? [unit('plan', -1)] : Array.from({ length: tasks }, (_, at) => unit('task', at)),
    idempotency: null,
    ...over,
  };
}

/** Accepts a job and claims all that it has. */
export async function running(
  sql: Sql,
  over: Parameters<typeof newJob>[0] = {},
): Promise<{ jobId: string; tasks: ClaimedTask[] }> {
  const job = newJob(over);
  await acceptJobs(sql, [job], LIFE);
  return {
    jobId: job.jobId,
    tasks: await claimAll(
      sql,
      job.units.map((unit) => unit.taskId),
    ),
  };
}

/** Claims tasks, after their turn has come; what is not to be had is left out. */
export async function claimAll(sql: Sql, taskIds: string[], worker = WORKER): Promise<ClaimedTask[]> {
  await admit(sql, taskIds);
  const members = taskIds.map((taskId) => ({ taskId, nonce: randomUUID() }));
  const results = await claimTasks(sql, members, worker, LEASE);
  return taskIds.flatMap((taskId) => {
    const result = results.get(taskId);
    return result?.kind === 'claimed' ? [result.task] : [];
  });
}

export const failure: JobFailure = { code: 'handler_error', message: 'It broke.' };

/** What a worker would write about an attempt. */
export function ending(
  task: { taskId: string; fence: number },
  status: FinishMember['status'] = 'completed',
  over: Partial<FinishMember> = {},
): FinishMember {
  return {
    taskId: task.taskId,
    fence: task.fence,
    status,
    delayMs: 0,
    charged: status !== 'paused' && status !== 'queued',
    expired: false,
    ...(status === 'failed' || status === 'retrying' ? { error: failure } : {}),
    ...over,
  };
}

/** Finishes and answers what became of each member, in their order. */
export async function finish(client: PrismaClient, ...members: FinishMember[]): Promise<Finish['kind'][]> {
  const results = await finishTasks(client, members, 'worker:test');
  return members.map((member) => results.get(member.taskId)?.kind as Finish['kind']);
}

export const jobRow = (client: PrismaClient, jobId: string) =>
  client.job.findUniqueOrThrow({ where: { id: jobId } });
export const taskRow = (client: PrismaClient, taskId: string) =>
  client.task.findUniqueOrThrow({ where: { id: taskId } });
export const taskRows = (client: PrismaClient, jobId: string) =>
  client.task.findMany({ where: { jobId }, orderBy: { position: 'asc' } });
export const dispatchRows = (client: PrismaClient, jobId: string) =>
  client.dispatch.findMany({ where: { jobId } });

/** The ledger of a job as `kind@version`, in the order in which it was written. */
export async function ledger(client: PrismaClient, jobId: string): Promise<string[]> {
  const rows = await client.jobEvent.findMany({ where: { jobId }, orderBy: { seq: 'asc' } });
  return rows.map(({ kind, version }) => `${kind}@${version}`);
}

/** Makes the leases of tasks end now. */
export async function endLeases(sql: Sql, taskIds: string[]): Promise<void> {
  await sql.$executeRaw`
    UPDATE tasks SET lease_until = clock_timestamp() - interval '1 ms'
    WHERE id = ANY(${taskIds}::uuid[]) AND status = 'active'`;
}

/** Makes all dispatch rows of a job due. */
export async function makeDue(sql: Sql, jobId: string): Promise<void> {
  await sql.$executeRaw`
    UPDATE dispatch SET look_again_at = clock_timestamp() - interval '1 ms' WHERE job_id = ${jobId}::uuid`;
}

/** A transaction that has done something and is kept open, with its locks, until it is committed or rolled back. */
export async function holding(
  client: PrismaClient,
  work: (sql: Sql) => Promise<unknown>,
): Promise<{ commit(): Promise<void>; rollBack(): Promise<void> }> {
  const [ready, end] = [gate(), gate()];
  let fails = false;
  const done = client.$transaction(
    async (sql) => {
      await work(sql);
      ready.open();
      await end.opened;
      if (fails) throw new Error('rolled back');
    },
    { timeout: 20_000 },
  );
  await Promise.race([ready.opened, done]);
  return {
    commit: () => {
      end.open();
      return done;
    },
    rollBack: async () => {
      fails = true;
      end.open();
      await done.catch(() => {});
    },
  };
}

/** An open transaction in the place of a client: what it starts joins the transaction. */
export function inside(sql: Sql): PrismaClient {
  const client: Sql & { $transaction: unknown } = {
    $queryRaw: ((...query: Parameters<Sql['$queryRaw']>) => sql.$queryRaw(...query)) as Sql['$queryRaw'],
    $executeRaw: ((...query: Parameters<Sql['$executeRaw']>) =>
      sql.$executeRaw(...query)) as Sql['$executeRaw'],
    $transaction: (run: (inner: Sql) => Promise<unknown>) => run(sql),
  };
  return client as unknown as PrismaClient;
}

/** Waits until that many statements of this database wait for a lock. */
export async function blocked(client: PrismaClient, count = 1): Promise<void> {
  await eventually(async () => {
    const [row] = await client.$queryRaw<{ n: number }[]>`
      SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    if (row?.n !== count) throw new Error(`${row?.n} statements wait for a lock, not ${count}.`);
  });
}

/** The turn of tasks has come, as far as they wait for it. */
export async function admit(sql: Sql, taskIds: string[]): Promise<Delivery[]> {
  const tasks = taskIds.map((taskId) => ({ taskId, counted: false }));
  return openGates(sql, tasks, LIFE, 2000);
}
