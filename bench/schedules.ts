import { onDatabase } from '../scripts/db/database.js';
import { quantile, withServices } from './with-services.js';

const SCHEDULES = 10_000;
/** Of those, the ones that are due each second. */
const A_SECOND = 100;
const WARM_UP_S = 5;
const SECONDS = 30;

/** How late slots fire and their jobs begin: many schedules, each of every 100 s, so that 100 are due each second. */
export function measureSchedules(): Promise<void> {
  return withServices(async ({ start, databaseUrl: url }) => {
    const more = { MAX_CONCURRENT_TASKS: '20' };
    await Promise.all([start('task-worker', more), start('task-worker', more)]);
    await onDatabase(url, async (client) => {
      await client.query(
        `INSERT INTO schedules (id, owner_id, name, created_by, every_ms, timezone, anchor, type, template, misfire,
           max_catch_up, catch_up_window_ms, overlap, next_slot, next_at)
         SELECT gen_random_uuid(), 'alice', 'bench ' || n, 'bench', $2 * 1000, 'UTC', s.at, 'demo.wait',
           '{"type": "demo.wait", "payload": {"durationMs": 0}}', 'latest', 1, 86400000, 'allow', s.at, s.at
         FROM generate_series(0, $1 - 1) n,
           LATERAL (SELECT date_trunc('second', now()) + make_interval(secs => 3 + n % $2) AS at) s`,
        [SCHEDULES, SCHEDULES / A_SECOND],
      );
      await client.query('ANALYZE schedules');
    });
    await new Promise((resolve) => setTimeout(resolve, (3 + WARM_UP_S + SECONDS + 2) * 1000));
    const rows = await onDatabase(url, async (client) => {
      const { rows } = await client.query<{ fired: number; begun: number | null }>(
        `WITH first AS (SELECT min(slot) + make_interval(secs => $1) AS at FROM schedule_slots)
         SELECT (extract(epoch FROM x.decided_at - x.slot) * 1000)::float8 AS fired,
           (extract(epoch FROM j.started_at - x.slot) * 1000)::float8 AS begun
         FROM schedule_slots x JOIN jobs j ON j.id = x.job_id, first
         WHERE x.slot >= first.at AND x.slot < first.at + make_interval(secs => $2)`,
        [WARM_UP_S, SECONDS],
      );
      return rows;
    });
    const expected = A_SECOND * SECONDS;
    if (rows.length !== expected) throw new Error(`${rows.length} of ${expected} slots fired.`);
    console.log(`${SCHEDULES} schedules, ${A_SECOND} due at each second, ${SECONDS} s, two workers`);
    console.log(`slots fired late by ${told(rows.map(({ fired }) => fired))}`);
    console.log(`jobs began late by ${told(rows.flatMap(({ begun }) => begun ?? []))}`);
  });
}

function told(late: number[]): string {
  const [p50, p99, most] = [0.5, 0.99, 1].map((share) => quantile(late, share).toFixed(0));
  return `p50 ${p50} ms, p99 ${p99} ms, most ${most} ms`;
}
