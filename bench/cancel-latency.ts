import { apiUser, type ApiUser } from '../test/support/api-client.js';
import { eventually } from '../test/support/eventually.js';
import { quantile, withServices } from './with-services.js';

const CANCELS = 100;
const TASKS = 4;

interface Receipt {
  requestedAt: string;
  stops: { worker: string; deliveredAt: string | null; stoppedAt: string | null }[];
}

async function cancelOne(
  alice: ApiUser,
): Promise<{ answeredMs: number; deliveredMs: number; workers: number }> {
  const payload = { durationMs: 60_000, steps: 1 };
  const { jobId } = await alice.submit({ type: 'demo.wait', numTask: TASKS, payload });
  await eventually(async () => {
    const { tasks } = (await alice.get(`/jobs/${jobId}/tasks`)).body as { tasks: { status: string }[] };
    if (tasks.some((task) => task.status !== 'active')) throw new Error('not all tasks run yet');
  });
  const asked = performance.now();
  await alice.send('POST', `/jobs/${jobId}/cancel`);
  const answeredMs = performance.now() - asked;
  const receipt = await eventually(async () => {
    const { cancelReceipt } = (await alice.get(`/jobs/${jobId}`)).body as { cancelReceipt: Receipt };
    if (cancelReceipt.stops.some((stop) => stop.stoppedAt === null))
      throw new Error('not all have stopped yet');
    return cancelReceipt;
  });
  const last = Math.max(...receipt.stops.map((stop) => Date.parse(stop.deliveredAt ?? '')));
  return {
    answeredMs,
    deliveredMs: last - Date.parse(receipt.requestedAt),
    workers: new Set(receipt.stops.map((stop) => stop.worker)).size,
  };
}

/**
 * How long a cancel through an api process takes to reach the running attempts in two task workers: from the start
 * of the cancel's transaction until every attempt's signal was raised and that was written, both by the clock of
 * Postgres. And how long the caller waits for the answer.
 */
export function measureCancelLatency(): Promise<void> {
  return withServices(async ({ start }) => {
    const [api] = await Promise.all([start('api'), start('task-worker'), start('task-worker')]);
    const alice = await apiUser(api, 'alice');
    for (let i = 0; i < 10; i++) await cancelOne(alice);
    const measured: Awaited<ReturnType<typeof cancelOne>>[] = [];
    for (let i = 0; i < CANCELS; i++) measured.push(await cancelOne(alice));
    const spread = measured.filter((one) => one.workers === 2).length;
    console.log(`${CANCELS} cancels of jobs with ${TASKS} running tasks, ${spread} of them on both workers`);
    console.log(
      line(
        'signal raised in the last attempt',
        measured.map((one) => one.deliveredMs),
      ),
    );
    console.log(
      line(
        'answer to the caller',
        measured.map((one) => one.answeredMs),
      ),
    );
  });
}

function line(name: string, values: number[]): string {
  return `${name}: p50 ${quantile(values, 0.5).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms`;
}
