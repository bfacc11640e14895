import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import type { Job } from '@app/core';
import { compileService } from '../../support/compile-service.js';
import { createTestDatabase } from '../../support/database.js';
import { ALICE, startEngine, type TestEngine } from '../../support/engine.js';
import { eventually } from '../../support/eventually.js';
import { testRedis } from '../../support/redis.js';
import { sql as query } from '../../cases/probe.js';
import { JOB_TYPES } from './sandboxed-types.js';

/** A process takes a second to start, and longer where others compute. */
export const PATIENCE = { timeout: 40_000 };

interface TaskRow {
  status: string;
  attempt: number;
  crashes: number;
  suspect: boolean;
  checkpoint: unknown;
}

/** A database, and engines one after the other that start processes from compiled code. */
export class SandboxWorld {
  engine!: TestEngine;

  private constructor(
    /** Where the compiled code is. */
    readonly folder: string,
    readonly databaseUrl: string,
    private readonly drop: () => Promise<void>,
  ) {}

  static async open(): Promise<SandboxWorld> {
    const folder = join(await mkdtemp(join(tmpdir(), 'longhaul-sandbox-')), 'out');
    await compileService(folder, ['test/integration/sandbox']);
    const database = await createTestDatabase();
    const world = new SandboxWorld(folder, database.url, () => database.drop());
    await world.sql('CREATE TABLE effects (task_id uuid, attempt int)');
    return world;
  }

  async close(): Promise<void> {
    await this.drop();
    await rm(join(this.folder, '..'), { recursive: true, force: true });
  }

  /** Starts an engine; the one before must have stopped. */
  async boot(
    env: Record<string, string> = {},
    more: { entry?: string; executes?: boolean } = {},
  ): Promise<void> {
    const { entry = 'test/integration/sandbox/sandbox-main.js', executes = true } = more;
    this.engine = await startEngine({
      databaseUrl: this.databaseUrl,
      redis: testRedis(),
      jobTypes: JOB_TYPES,
      executes,
      // Nobody waits for the end of a lease here: bereave() ends them.
      env: { LEASE: '10s', ...env },
      sandboxEntry: join(this.folder, entry),
    });
  }

  async submit(type: string, payload: object, more: object = {}): Promise<Job> {
    const input = { type: `test.${type}`, payload: payload as never, ...more };
    return (await this.engine.jobs.submit(input, ALICE)).job;
  }

  ended(jobId: string): Promise<Job> {
    return this.engine.ended(jobId, undefined, PATIENCE);
  }

  async run(type: string, payload: object, more: object = {}): Promise<Job> {
    return this.ended((await this.submit(type, payload, more)).jobId);
  }

  sql<T extends object>(text: string, ...values: unknown[]): Promise<T[]> {
    return query<T>(this.databaseUrl, text, ...values);
  }

  /** The only task of a job. */
  async taskOf(jobId: string): Promise<TaskRow | undefined> {
    const rows = await this.sql<TaskRow>(
      `SELECT status, attempt, crashes, suspect, checkpoint FROM tasks t
       LEFT JOIN task_outputs o ON o.task_id = t.id WHERE job_id = $1`,
      jobId,
    );
    return rows[0];
  }

  /** The process of a task, which has told it with its checkpoint. */
  pidOf(jobId: string): Promise<number> {
    return eventually(async () => {
      const { pid } = ((await this.taskOf(jobId))?.checkpoint ?? {}) as { pid?: number };
      expect(pid).toBeGreaterThan(0);
      return Number(pid);
    }, PATIENCE);
  }

  /** Lets a worker that is not there hold the task of a job, whose lease has ended. */
  async bereave(jobId: string, beats: boolean): Promise<void> {
    const worker = '00000000-0000-4000-8000-00000000dead';
    await this.sql(
      `INSERT INTO workers (id, host, pid, queues, seen_at)
       VALUES ($1, 'h', 1, '{}', clock_timestamp() ${beats ? '+' : '-'} interval '1 minute')
       ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at`,
      worker,
    );
    await this.sql(
      `WITH j AS (UPDATE jobs SET status = 'active', started_at = now() WHERE id = $1),
         d AS (UPDATE dispatch SET look_again_at = now() WHERE job_id = $1)
       UPDATE tasks SET status = 'active', fence = 1, attempt = 1, worker = $2,
         lease_until = now() - interval '1 second' WHERE job_id = $1`,
      jobId,
      worker,
    );
  }
}

/** Whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
