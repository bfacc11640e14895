import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Sandboxes } from '@app/engine/sandbox/sandboxes.js';
import { Metrics } from '@app/platform/observability/metrics.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { isAlive, PATIENCE, SandboxWorld } from './sandbox-world.js';

jest.setTimeout(90_000);

let world: SandboxWorld;

beforeAll(async () => {
  world = await SandboxWorld.open();
});
afterAll(() => world?.close());

describe('the processes of a worker', () => {
  afterEach(() => world.engine.stop());

  test('feature 32: are at most MAX_SANDBOXES; who finds no room is handed back uncharged, and runs when there is', async () => {
    await world.boot({ MAX_SANDBOXES: '1' });
    const job = await world.run('alone', { what: 'wait', ms: 1500 }, { numTask: 3 });
    expect(job).toMatchObject({ status: 'completed', tasks: { completed: 3 } });
    const rows = await world.sql<{ attempt: number; ended: number }>(
      `SELECT attempt, extract(epoch FROM finished_at - min(started_at) OVER ())::float8 AS ended
       FROM tasks WHERE job_id = $1 ORDER BY 2`,
      job.jobId,
    );
    expect(rows.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
    // One after the other, and each soon after the one before.
    expect(rows[2]?.ended).toBeGreaterThan(4.5);
  });

  test('feature 32: keep no slot from ordinary tasks while tasks wait for them', async () => {
    await world.boot({}, { executes: false });
    const long = { what: 'wait', ms: 3_600_000 };
    const submit = (type: string) => Promise.all([1, 2, 3].map(() => world.submit(type, long)));
    const suspects = await submit('plain');
    for (const { jobId } of suspects) await world.bereave(jobId, false);
    await world.engine.stop();
    await world.boot({ MAX_SANDBOXES: '1', MAX_CONCURRENT_TASKS: '4' });
    const alone = [...suspects, ...(await submit('alone'))].map(({ jobId }) => jobId);
    const states = async () => {
      const rows = await world.sql<{ status: string; fence: number }>(
        `SELECT status, fence FROM tasks WHERE job_id = ANY($1) ORDER BY status`,
        alone,
      );
      expect(rows.filter(({ status }) => status === 'active').length).toBe(1);
      // None was left where it was, although one runs at a time.
      expect(rows.every(({ fence }) => fence > 0)).toBe(true);
      return rows.map(({ status }) => status);
    };
    await eventually(states, PATIENCE);
    const running = () =>
      eventually(async () => {
        const rows = await world.sql<{ job_id: string }>(
          `SELECT job_id FROM tasks WHERE status = 'active' AND job_id = ANY($1)`,
          alone,
        );
        expect(rows).toHaveLength(1);
        expect(world.engine.app.get(Sandboxes).hasRoom).toBe(false);
        return rows[0]!.job_id;
      }, PATIENCE);
    const first = await running();
    // More than there are slots, in two rounds.
    const ordinary = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(() => world.submit('plain', { what: 'wait', ms: 200 })),
    );
    for (const { jobId } of ordinary) expect((await world.ended(jobId)).status).toBe('completed');
    expect(await running()).toBe(first);
    // The place goes to the next one before its pause is over.
    await world.engine.jobs.cancel('alice', first, { actor: 'test' });
    await eventually(async () => expect([first, undefined]).not.toContain(await running()), PATIENCE);
    for (const jobId of alone) await world.engine.jobs.cancel('alice', jobId, { actor: 'test' });
  });

  test('feature 32: that cannot start fail their task with a reason, and the worker goes on', async () => {
    await world.boot({}, { entry: 'no-such-file.js' });
    const { status, error } = await world.run('alone', { what: 'look' });
    expect({ status, error }).toMatchObject({
      status: 'failed',
      error: { code: 'handler_error', attempt: 3 },
    });
    expect(error?.message).toBe('The process for this task could not start: exit code 1. Its log says why.');
    expect((await world.run('plain', { what: 'wait' })).status).toBe('completed');
  });

  test('feature 32: are killed when the worker stops and they do not; what became of their tasks is written', async () => {
    await world.boot({ SHUTDOWN_GRACE: '1s' });
    const [plain, resumable] = [
      await world.submit('alone', { what: 'hold' }),
      await world.submit('resumable', { what: 'hold' }),
    ];
    const pids = [await world.pidOf(plain.jobId), await world.pidOf(resumable.jobId)];
    await world.engine.stop();
    expect(pids.map(isAlive)).toEqual([false, false]);
    expect(await world.taskOf(plain.jobId)).toMatchObject({ status: 'retrying', attempt: 1, suspect: false });
    expect(await world.taskOf(resumable.jobId)).toMatchObject({
      status: 'paused',
      attempt: 0,
      suspect: false,
    });
    await world.boot();
    for (const { jobId } of [plain, resumable])
      await world.engine.jobs.cancel('alice', jobId, { actor: 'test' });
  });

  test.each(['holds its thread', 'boots'])(
    'feature 32: end with the worker that is killed while one %s',
    async (what) => {
      await world.boot();
      const env = {
        PATH: process.env['PATH'],
        SERVICE_TYPE: 'task-worker',
        DATABASE_URL: world.databaseUrl,
        REDIS_URL: testRedis().url,
        LOG_LEVEL: 'error',
      };
      const main = join(world.folder, 'test/integration/sandbox/orphan-main.js');
      const parent = spawn(process.execPath, [main, what], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      const pid = await new Promise<number>((resolve) =>
        parent.stdout.once('data', (told) => resolve(Number(told))),
      );
      expect(isAlive(pid)).toBe(true);
      parent.kill('SIGKILL');
      try {
        await eventually(() => expect(isAlive(pid)).toBe(false), PATIENCE);
      } finally {
        if (isAlive(pid)) process.kill(pid, 'SIGKILL');
      }
    },
  );
});

/** A job that was running in a worker which is gone, and a worker that finds it. */
const prepare = async (payload: object, beats = false) => {
  await world.boot({}, { executes: false });
  const { jobId } = await world.submit('plain', payload);
  await world.bereave(jobId, beats);
  await world.engine.stop();
  await world.boot();
  return jobId;
};

describe('a task that ran when its worker died', () => {
  afterEach(() => world.engine.stop());

  test('feature 32: is suspected, runs next alone in a process whatever its type says, and is cleared', async () => {
    const jobId = await prepare({ what: 'look' });
    const { result } = await world.ended(jobId);
    expect(result).toMatchObject({ parent: process.pid, attempt: 2 });
    expect(await world.taskOf(jobId)).toMatchObject({ attempt: 2, crashes: 0, suspect: false });
  });

  test('feature 32: is not suspected when its worker still beats', async () => {
    const jobId = await prepare({ what: 'look' }, true);
    const { result } = await world.ended(jobId);
    expect(result).toMatchObject({ pid: process.pid, attempt: 2 });
  });

  test('case C12: and does it again alone pays for it, stays suspected, and completes when it is done with that', async () => {
    const jobId = await prepare({ what: 'die', dies: 3 });
    const { status, result } = await world.ended(jobId);
    expect({ status, result }).toEqual({ status: 'completed', result: { attempt: 4 } });
    expect(await world.taskOf(jobId)).toMatchObject({ attempt: 4, crashes: 2, suspect: false });
  });

  test('case C12: and does it whenever it runs fails for it, and the worker is there all along', async () => {
    const jobId = await prepare({ what: 'die', dies: 99 });
    const job = await world.ended(jobId);
    expect(job).toMatchObject({ status: 'failed', error: { code: 'crash_loop', attempt: 4 } });
    expect(await world.engine.app.get(Metrics).text()).toMatch(/^longhaul_lone_deaths_total 3$/m);
  });
});
