import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Scenario } from '../scenario.js';

const SECONDS = 60;
const WRONG_BY = '+90s';
const LIBRARY = 'faketime/libfaketime.so.1';
const PACKAGE = 'libfaketime';

/** F17: a schedule of every second, while the processes that fire it come and go and one has a wrong clock. */
export const schedules: Scenario = {
  name: 'schedules',
  ci: false,
  what: `five workers fire a schedule of every second for ${SECONDS} s, killed and restarted at random, one with its clock 90 s ahead: a job for each slot, none doubled, missed ones in the ledger`,
  environment: { SCHEDULE_MIN_INTERVAL: '1s', MAX_CONCURRENT_TASKS: '4' },
  boundMs: 60_000,
  async run(world) {
    const { services, random } = world;
    const wrong = wrongClock();
    world.tell(`one clock is wrong by ${WRONG_BY}`);
    await services.start('task-worker');
    const mistaken = await services.start('task-worker', wrong);
    await mistaken.up();
    await world.schedule({ name: 'every second', cron: '* * * * * *' }, 100);
    const end = Date.now() + SECONDS * 1000;
    let nth = 0;
    while (Date.now() < end) {
      await delay(random.between(1000, 4000));
      const victim = random.pick(services.workers.filter((worker) => worker !== mistaken));
      if (!victim) continue;
      // Now and then nobody is left who could fire, but for the one whose clock is wrong.
      const gentle = random.happens(0.5);
      world.fault(`${gentle ? 'SIGTERM to' : 'kill -9 of'} ${victim.name}`);
      if (gentle) void victim.end();
      else victim.kill();
      nth++;
      await services.start('task-worker');
    }
    if (nth < 10) throw new Error(`Only ${nth} workers were killed.`);
    await world.query(`UPDATE schedules SET next_at = NULL`);
  },
  async after(world) {
    const [row] = await world.query<Figures>(`
      WITH rows AS (
        SELECT x.*, COALESCE(x.until, x.slot) AS last,
          (SELECT count(*) FROM jobs j WHERE j.schedule_id = x.schedule_id AND j.slot = x.slot) AS jobs
        FROM schedule_slots x
      )
      SELECT sum(count)::int AS accounted, (extract(epoch FROM max(last) - min(slot)) + 1)::int AS expected,
        count(*) FILTER (WHERE outcome = 'fired')::int AS fired,
        COALESCE(sum(count) FILTER (WHERE outcome <> 'fired'), 0)::int AS missed,
        count(*) FILTER (WHERE jobs > 1)::int AS doubled,
        count(*) FILTER (WHERE jobs <> (outcome = 'fired')::int)::int AS wrong,
        (SELECT count(*)::int FROM jobs) - count(*) FILTER (WHERE outcome = 'fired')::int AS strays,
        (SELECT count(*)::int FROM jobs WHERE created_at < slot) AS early
      FROM rows`);
    if (!row) throw new Error('There is no ledger.');
    const { expected, accounted, fired, missed, doubled, wrong, strays, early } = row;
    world.tell(
      `slots ${expected}, fired ${fired}, missed or merged ${missed}, doubled ${doubled}, early ${early}`,
    );
    if (expected < SECONDS - 10) throw new Error(`Only ${expected} slots came.`);
    if (accounted !== expected) throw new Error(`${accounted} slots of ${expected} are in the ledger.`);
    if (doubled + wrong + strays + early > 0)
      throw new Error(`Not one job for each slot: ${JSON.stringify(row)}`);
    if (fired < expected / 2) throw new Error(`Only ${fired} slots of ${expected} fired.`);
  },
};

interface Figures {
  expected: number;
  accounted: number;
  fired: number;
  missed: number;
  doubled: number;
  wrong: number;
  strays: number;
  early: number;
}

/**
 * What gives a process a wrong clock; the one that timers go by stays right.
 * @throws where the library is not installed: with right clocks alone the scenario would show nothing of wrong ones
 */
function wrongClock(): Record<string, string> {
  const given = process.env['LIBFAKETIME'];
  const places = readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}/${LIBRARY}`);
  const library = [...(given ? [given] : []), ...places].find((file) => existsSync(file));
  if (library === undefined) {
    throw new Error(
      `There is no libfaketime to give a worker a wrong clock: install the Debian package ${PACKAGE}, or name the file with LIBFAKETIME.`,
    );
  }
  return {
    LD_PRELOAD: library,
    FAKETIME: WRONG_BY,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}
