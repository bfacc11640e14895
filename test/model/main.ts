import { parseArgs } from 'node:util';
import { SEARCHES, search } from './exhaustive.js';
import { runLane } from './lanes.js';
import { RACES } from './race-list.js';
import { runRaces } from './race.js';
import { withTemplate } from './template.js';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
    lanes: { type: 'string', default: '4' },
    /** Tells the first violation as it was met. */
    'no-shrink': { type: 'boolean', default: false },
    /** After the sequences: every state of a small job, and every race of two calls. */
    search: { type: 'boolean', default: false },
    races: { type: 'boolean', default: false },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
const [runs, seed, count] = [Number(values.runs), Number(values.seed), Number(values.lanes)];
const secondsOf = async <T>(run: () => Promise<T>) => {
  const began = performance.now();
  return { answer: await run(), seconds: (performance.now() - began) / 1000 };
};

async function runSequences(): Promise<{ sequences: number; violations: string[] }> {
  if (runs === 0) return { sequences: 0, violations: [] };
  print(`seed ${seed}; the same sequences again with --seed ${seed} --runs ${runs} --lanes ${count}`);
  const over = { found: false };
  const each = Math.ceil(runs / count);
  const all = Array.from({ length: count }, (_, at) => runLane(each, seed + at, !values['no-shrink'], over));
  const { answer: lanes, seconds } = await secondsOf(() => Promise.all(all));
  const sum = (of: 'sequences' | 'calls') => lanes.reduce((total, lane) => total + lane[of], 0);
  const [sequences, calls] = [sum('sequences'), sum('calls')];
  const rate = `${(sequences / seconds).toFixed(1)} sequences a second`;
  print(`${calls} calls, ${(calls / sequences).toFixed(1)} a sequence, ${rate}`);
  return { sequences, violations: lanes.flatMap(({ violation }) => violation ?? []) };
}

async function searchAll(): Promise<string[]> {
  const faults: string[] = [];
  for (const one of SEARCHES) {
    const { answer, seconds } = await secondsOf(() => search(one, count));
    const { states, moves, sqlMoves } = answer;
    print(
      `${one.name}: ${states} states and ${moves} calls within ${one.depth}, ${sqlMoves} calls on the database within ${one.sqlDepth}, ${seconds.toFixed(1)} s`,
    );
    faults.push(...answer.faults);
  }
  return faults;
}

async function raceAll(): Promise<string[]> {
  const { answer, seconds } = await secondsOf(() => runRaces(RACES, count, values['no-shrink']));
  print(`${RACES.length} races, each met in 4 ways, ${seconds.toFixed(1)} s`);
  return answer;
}

async function run(): Promise<boolean> {
  const { sequences, violations } = await runSequences();
  if (values.search) violations.push(...(await searchAll()));
  if (values.races) violations.push(...(await raceAll()));
  violations.forEach(print);
  print(`${sequences} sequences, ${violations.length} violations`);
  return violations.length === 0;
}

process.exit((await withTemplate(run)) ? 0 : 1);
