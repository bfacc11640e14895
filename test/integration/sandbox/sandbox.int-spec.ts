import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Metrics } from '@app/platform/observability/metrics.js';
import { eventually } from '../../support/eventually.js';
import { isAlive, PATIENCE, SandboxWorld } from './sandbox-world.js';

jest.setTimeout(90_000);

let world: SandboxWorld;

beforeAll(async () => {
  world = await SandboxWorld.open();
});
afterAll(() => world?.close());

describe('a task of a type with `sandbox: true`', () => {
  beforeAll(() => world.boot());
  afterAll(() => world.engine.stop());

  test('feature 32: runs in a process of its own, with all that its job type injects', async () => {
    const { status, result } = await world.run('alone', { what: 'look' });
    expect({ status, result }).toEqual({
      status: 'completed',
      result: {
        pid: expect.any(Number),
        parent: process.pid,
        attempt: 1,
        checkpoint: null,
        createdAt: true,
        sandboxed: true,
      },
    });
    const { pid } = result as { pid: number };
    expect(pid).not.toBe(process.pid);
    await eventually(() => expect(isAlive(pid)).toBe(false), PATIENCE);
  });

  test('feature 32: tells its progress and saves its checkpoint while it runs', async () => {
    const seen = join(world.folder, '..', 'seen');
    const { jobId } = await world.submit('alone', { what: 'tell', note: seen });
    await eventually(async () => {
      expect(await world.engine.jobs.find('alice', jobId)).toMatchObject({
        status: 'active',
        progress: 50,
        detail: { percent: 50 },
      });
      expect((await world.taskOf(jobId))?.checkpoint).toEqual({ at: 50 });
    }, PATIENCE);
    await writeFile(seen, '');
    expect(await world.ended(jobId)).toMatchObject({
      status: 'completed',
      result: 'told',
    });
  });

  test('feature 32: goes on from its checkpoint', async () => {
    expect((await world.run('alone', { what: 'resume' })).result).toEqual({ from: 'second' });
  });

  test('feature 32: commits an effect once, however often it is run', async () => {
    const { jobId, result } = await world.run('alone', { what: 'commit' });
    expect(result).toEqual({ attempt: 1 });
    expect(
      await world.sql(
        'SELECT e.attempt FROM effects e JOIN tasks t ON t.id = e.task_id WHERE job_id = $1',
        jobId,
      ),
    ).toHaveLength(1);
  });

  test.each([
    ['what an effect threw', { what: 'commit and fail' }, 3, 'no_table'],
    ['an error, again and again', { what: 'throw', note: 'told so' }, 3, 'told so'],
    ['an error that is permanent once', { what: 'throw for good' }, 1, 'not again'],
    ['a result that cannot be stored once', { what: 'cycle' }, 1, 'circular'],
  ])('feature 32: fails with %s', async (_what, payload, attempt, message) => {
    const { status, error } = await world.run('alone', payload);
    expect({ status, error }).toMatchObject({ status: 'failed', error: { code: 'handler_error', attempt } });
    expect(error?.message).toContain(message);
  });

  test('feature 32: plans its tasks, which are committed with the checkpoint that follows them', async () => {
    const { jobId } = await world.submit('planned', { what: 'look' });
    const job = await world.ended(jobId);
    expect(job).toMatchObject({ status: 'completed', tasks: { total: 4, completed: 4 } });
    const [plan] = await world.sql(`SELECT attempt FROM tasks WHERE job_id = $1 AND kind = 'plan'`, jobId);
    expect(plan).toEqual({ attempt: 2 });
  });

  test('feature 32: is killed when it does not heed a cancel, and the receipt says that it stopped', async () => {
    const { jobId } = await world.submit('alone', { what: 'hold' });
    const pid = await world.pidOf(jobId);
    await world.engine.jobs.cancel('alice', jobId, { actor: 'test' });
    await eventually(() => expect(isAlive(pid)).toBe(false), PATIENCE);
    await eventually(async () => {
      expect((await world.engine.jobs.find('alice', jobId))?.cancelReceipt).toMatchObject({
        state: 'stopped',
      });
    }, PATIENCE);
    expect(await world.engine.jobs.find('alice', jobId)).toMatchObject({ status: 'canceled' });
  });

  test('feature 32: has its transaction ended with it, though Postgres is at a statement of it', async () => {
    const sleeping = () =>
      world.sql<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep(600)%'
           AND state = 'active'`,
      );
    const { jobId } = await world.submit('alone', { what: 'hold a transaction' });
    await eventually(async () => expect(await sleeping()).toHaveLength(1), PATIENCE);
    await world.engine.jobs.cancel('alice', jobId, { actor: 'test' });
    await eventually(async () => expect(await sleeping()).toEqual([]), PATIENCE);
    expect(await world.sql('SELECT 1 FROM effects WHERE task_id = $1', jobId)).toEqual([]);
  });

  test('feature 32: is killed when it does not heed its timeout, and tried again', async () => {
    const { jobId } = await world.submit('limited', { what: 'hold' });
    const pid = await world.pidOf(jobId);
    expect(await world.ended(jobId)).toMatchObject({
      status: 'failed',
      error: { code: 'timeout', attempt: 2 },
    });
    await eventually(() => expect(isAlive(pid)).toBe(false), PATIENCE);
    expect(await world.taskOf(jobId)).toMatchObject({ crashes: 0, suspect: false });
    expect(await world.engine.app.get(Metrics).text()).toMatch(/^longhaul_unstoppable_total 0$/m);
  });

  test('case C12: whose process dies is run again within its attempts, and never left active', async () => {
    const { jobId, status, result } = await world.run('alone', { what: 'die', dies: 2 });
    expect({ status, result }).toEqual({ status: 'completed', result: { attempt: 3 } });
    expect(await world.taskOf(jobId)).toMatchObject({ attempt: 3, crashes: 2, suspect: false });
  });

  test.each([
    [
      'three times, fails as a crash loop',
      'alone',
      { what: 'exit' },
      5,
      'crash_loop',
      '3 times (exit code 3)',
    ],
    [
      'twice on its last attempt too',
      'alone',
      { what: 'die', dies: 9 },
      2,
      'crash_loop',
      '2 times (signal SIGKILL)',
    ],
    ['once with no attempt left, has crashed', 'alone', { what: 'exit' }, 1, 'crashed', 'once (exit code 3)'],
    [
      'is resumable and dies three times too',
      'resumable',
      { what: 'exit' },
      1,
      'crash_loop',
      '3 times (exit code 3)',
    ],
  ])('case C12: that dies alone %s', async (_what, type, payload, attempts, code, message) => {
    const job = await world.run(type, payload, { attempts });
    expect(job).toMatchObject({ status: 'failed', error: { code } });
    expect(job.error?.message).toBe(`Its process died ${message} while it ran alone.`);
  });
});
