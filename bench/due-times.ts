import { apiUser } from '../test/support/api-client.js';
import { quantile, withServices } from './with-services.js';

const JOBS = 200;
const FROM_MS = 2000;
const SPREAD_MS = 10_000;

/** How late jobs with a time begin when nothing else is going on: from `runAt` to the start of the handler's attempt. */
export function measureDueTimes(): Promise<void> {
  return withServices(async ({ start }) => {
    const [api] = await Promise.all([start('api'), start('task-worker')]);
    const alice = await apiUser(api, 'alice');
    const begun = Date.now();
    const ids = await Promise.all(
      Array.from({ length: JOBS }, async (_, nth) => {
        const runAt = new Date(begun + FROM_MS + (nth * SPREAD_MS) / JOBS).toISOString();
        return (await alice.submit({ type: 'demo.wait', payload: { durationMs: 0 }, runAt })).jobId;
      }),
    );
    const late: number[] = [];
    for (const jobId of ids) {
      const { runAt, startedAt } = await alice.until(jobId);
      late.push(Number(new Date(startedAt ?? '')) - Number(new Date(runAt ?? '')));
    }
    const [p50, p99, most] = [0.5, 0.99, 1].map((share) => quantile(late, share).toFixed(0));
    console.log(
      `${JOBS} jobs, one each ${SPREAD_MS / JOBS} ms, began late by p50 ${p50} ms, p99 ${p99} ms, most ${most} ms`,
    );
    if (Math.min(...late) < 0) throw new Error('A job began before its time.');
  });
}
