import { quantile } from './with-services.js';

/** Rounds that count, after one that only warms up: on a quiet machine more of them fit into the time. */
const ROUNDS = { least: 5, most: 9 };
/** What one measurement should take, and what the whole run may take, on however busy a machine. */
const SHARE_MS = 25_000;
const MOST_MS = 215_000;

const begun = performance.now();

/** Repeats a round as often as the time allows; answers what the rounds gave, without the first. */
export async function inRounds<T>(measure: (round: number) => Promise<T>): Promise<T[]> {
  const start = performance.now();
  const results: T[] = [];
  await measure(0);
  for (let round = 1; round <= ROUNDS.most; round++) {
    const now = performance.now();
    const enough = round > ROUNDS.least && now - start > SHARE_MS;
    if (enough || (round > 1 && now - begun > MOST_MS)) break;
    results.push(await measure(round));
  }
  if (results.length < ROUNDS.least) console.log('  The time was up: a busier machine measures less.');
  return results;
}

/** A measurement: `count` of a unit are done by the engine and by bare BullMQ; each side answers its milliseconds. */
export interface Comparison {
  title: string;
  /** What is counted, such as `tasks`. */
  unit: string;
  count: number;
  /** What the side of the engine is called. Default: `longhaul`. */
  name?: string;
  longhaul: () => Promise<number>;
  bullmq: () => Promise<number>;
}

/**
 * Compares the engine with bare BullMQ in rounds, each of both one after the other and every other one the other way
 * round: what else happens on the machine then hits both alike, and a ratio says more than its two rates.
 */
export async function compare({
  title,
  unit,
  count,
  name: ours = 'longhaul',
  ...sides
}: Comparison): Promise<void> {
  const line = row(['round', `${ours} ${unit}/s`, `bullmq ${unit}/s`, 'ratio']);
  console.log(`\n${title}\n\n${line.head}`);
  const ratios = await inRounds(async (round) => {
    const order = round % 2 === 0 ? (['longhaul', 'bullmq'] as const) : (['bullmq', 'longhaul'] as const);
    const rates = { longhaul: 0, bullmq: 0 };
    for (const name of order) rates[name] = (count * 1000) / (await sides[name]());
    const ratio = rates.longhaul / rates.bullmq;
    if (round > 0) {
      const { longhaul, bullmq } = rates;
      console.log(line.of([round, longhaul.toFixed(0), bullmq.toFixed(0), ratio.toFixed(2)]));
    }
    return ratio;
  });
  const at = (share: number) => quantile(ratios, share).toFixed(2);
  console.log(`\n  ratio: median ${at(0.5)}, least ${at(0)}, most ${at(1)}`);
  console.log(`${title}: ${at(0.5)} of the ${unit} per second of bare BullMQ.`);
}

/** Rows of a table: the names of its columns, and values under them. */
export function row(names: string[]): { head: string; of(values: (string | number)[]): string } {
  const of = (values: (string | number)[]) =>
    values.map((value, at) => `  ${String(value).padStart(names[at]?.length ?? 0)}`).join('');
  return { head: of(names), of };
}
