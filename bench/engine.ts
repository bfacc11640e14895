import { measureAcceptHttp } from './accept-http.js';
import { measureAccept } from './accept.js';
import { measureDrain } from './drain.js';
import { writeHistory } from './history.js';
import { deadlocks, describeMachine } from './machine.js';
import { buildPrograms } from './programs.js';
import { withServices } from './with-services.js';

const HISTORY = 50_000;

/** How much work the engine accepts and drains, beside bare BullMQ on the same Redis in the same run. */
export async function measureEngine(): Promise<void> {
  await buildPrograms();
  await withServices(async (bench) => {
    console.log(await describeMachine(bench));
    await writeHistory(bench, HISTORY);
    console.log(`The database holds ${HISTORY} jobs that have ended.`);
    const before = await deadlocks(bench);
    await measureDrain(bench);
    await measureAccept(bench);
    await measureAcceptHttp(bench);
    console.log(`\nDeadlocks in Postgres meanwhile: ${(await deadlocks(bench)) - before}.`);
  });
}
