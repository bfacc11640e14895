import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { apiUser } from '../test/support/api-client.js';
import { quantile, withServices } from './with-services.js';

const FLOOD = { jobs: 10, tasks: 10_000, durationMs: 10 };
const NEWCOMERS = 30;
const SLOTS = 10;

/**
 * How long one owner's 100,000 tasks keep the single job of another one back, in tasks begun meanwhile and in time; and
 * how near the start comes that GET /jobs/:jobId/explain has told.
 */
export function measureFairness(): Promise<void> {
  return withServices(async ({ start, databaseUrl }) => {
    const slots = { MAX_CONCURRENT_TASKS: String(SLOTS) };
    const [api] = await Promise.all([start('api'), start('task-worker', slots), start('task-worker', slots)]);
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    client.on('error', () => {});
    const flooder = await apiUser(api, 'flooder');
    const payload = { durationMs: FLOOD.durationMs };
    const flood: string[] = [];
    for (let n = 0; n < FLOOD.jobs; n++)
      flood.push((await flooder.submit({ type: 'demo.wait', numTask: FLOOD.tasks, payload })).jobId);
    console.log(
      `Flood: ${FLOOD.jobs * FLOOD.tasks} tasks of ${FLOOD.durationMs} ms, two workers with ${SLOTS} slots`,
    );

    const waits: number[] = [];
    const before: number[] = [];
    let windows = 0;
    for (let n = 0; n < NEWCOMERS; n++) {
      const newcomer = await apiUser(api, `newcomer-${n}`);
      const { rows } = await client.query<{ window: number }>('SELECT "window" FROM queues');
      const { jobId } = await newcomer.submit({ type: 'demo.wait', payload: { durationMs: 0 } });
      const { createdAt, startedAt } = await newcomer.until(jobId);
      waits.push(Number(new Date(startedAt ?? '')) - Number(new Date(createdAt)));
      const begun = await client.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM tasks WHERE started_at > $1 AND started_at < $2`,
        [createdAt, startedAt],
      );
      before.push(begun.rows[0]?.count ?? 0);
      windows = Math.max(windows, rows[0]?.window ?? 0);
      await delay(100);
    }
    const [p50, most] = [0.5, 1].map((share) => quantile(before, share));
    const [ms50, msMost] = [0.5, 1].map((share) => quantile(waits, share).toFixed(0));
    console.log(
      `Newcomers: ${p50} tasks of others began before theirs (p50), ${most} at most; ${ms50} ms, ${msMost} ms`,
    );
    console.log(`Bound: the widest window (${windows}), and a turn of each owner`);

    const told = await Promise.all(
      flood.map(async (jobId) => {
        const answer = await flooder.get(`/jobs/${jobId}/explain`);
        const { estimatedStart } = answer.body as { estimatedStart: string | null };
        return { jobId, asked: Date.now(), estimated: estimatedStart && Number(new Date(estimatedStart)) };
      }),
    );
    const errors: number[] = [];
    for (const { jobId, asked, estimated } of told) {
      const { startedAt } = await flooder.until(jobId, ['active', 'completed'], { timeout: 60_000 });
      const actual = Number(new Date(startedAt ?? ''));
      if (!estimated || actual < asked + 1000) continue;
      errors.push((100 * (estimated - actual)) / (actual - asked));
      console.log(
        `Start told ${((estimated - asked) / 1000).toFixed(1)} s ahead, came after ${((actual - asked) / 1000).toFixed(1)} s`,
      );
      if (errors.length === 4) break;
    }
    console.log(
      `Estimates: off by ${quantile(errors.map(Math.abs), 0.5).toFixed(0)} % (median), ${quantile(errors.map(Math.abs), 1).toFixed(0)} % at most`,
    );
    for (const jobId of flood) await flooder.send('POST', `/jobs/${jobId}/cancel`);
    await client.end();
  });
}
