import type { PrismaClient, Sql } from '@app/platform/prisma/database.js';
import { holding, inside, type Store } from '../integration/store/store-fixture.js';
import { raceCount } from '@app/engine/store/in-transaction.js';
import type { Call } from './call.js';
import { inOrder } from './commands.js';
import { emptyTables, openLane } from './lanes.js';
import { type Model, newModel } from './model.js';
import { actualView, differences, expectedView, shortIds } from './view.js';

/** Makes a call out of what there is in the model. */
export type Step = (model: Model) => Call;

/** Two calls at the same time, on what some calls before them have made. */
export interface Race {
  name: string;
  before: Step[];
  first: Step;
  second: Step;
}

/** How the two meet: one holds its locks when the other comes, both wait for one lock, or as it happens. */
export const MEETINGS = ['first holds', 'second holds', 'behind one lock', 'freely'] as const;
type Meeting = (typeof MEETINGS)[number];

/**
 * Runs races on databases of their own and answers what was broken: the answers and the rows must be those of one
 * of the two orders in which the calls can come one after the other, by the model.
 */
export async function runRaces(races: Race[], lanes: number, stopAtFirst = false): Promise<string[]> {
  const faults: string[] = [];
  const open = races.flatMap((race) => MEETINGS.map((meeting) => ({ race, meeting })));
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      const store = await openLane(3);
      try {
        for (let next = open.shift(); next; next = open.shift()) {
          faults.push(...(await runRace(store, next.race, next.meeting)));
          if (stopAtFirst && faults.length > 0) open.length = 0;
        }
      } finally {
        await store.close();
      }
    }),
  );
  return faults;
}

async function runRace(store: Store, race: Race, meeting: Meeting): Promise<string[]> {
  const [one, other, third] = store.clients as [PrismaClient, PrismaClient, PrismaClient];
  const model = newModel();
  await emptyTables(third, false);
  try {
    for (const step of race.before) {
      const call = step(model);
      const [expected, actual] = [call.expect(model), await call.perform(third)].map(inOrder);
      if (expected !== actual)
        return [`${race.name}: before it, "${shortIds(call.label)}" answered ${actual}`];
    }
    const calls: [Call, Call] = [race.first(model), race.second(model)];
    raceCount.take();
    const { answers, possible } = await meet(calls, meeting, [one, other, third]);
    // Postgres mends a deadlock, and who comes again finds all well: but one order of locks admits none.
    if (raceCount.take() > 0) return [`${race.name}, ${meeting}: a deadlock`];
    const found = await actualView(third);
    const orders = possible.map((order) => {
      const after = structuredClone(model);
      const expected: string[] = [];
      for (const at of order) expected[at] = inOrder(calls[at].expect(after));
      const wrong = expected.flatMap((answer, at) =>
        answer === answers[at]
          ? []
          : [`${at === 0 ? 'the first' : 'the second'} answered ${answers[at]}, not ${answer}`],
      );
      return [...wrong, ...differences(expectedView(after), found)];
    });
    if (orders.some((wrong) => wrong.length === 0)) return [];
    const told = orders.map(
      (wrong, at) =>
        `  if the ${possible[at]?.[0] === 0 ? 'first' : 'second'} came first: ${wrong.slice(0, 6).join('; ')}`,
    );
    return [shortIds([`${race.name}, ${meeting}:`, ...told].join('\n'))];
  } catch (error) {
    return [`${race.name}, ${meeting}: ${(error as Error).message}`];
  }
}

type Order = readonly [0 | 1, 0 | 1];
const ORDERS: Order[] = [
  [0, 1],
  [1, 0],
];

/** Lets two calls meet, and answers what they answered and in which orders they may have come. */
async function meet(
  calls: [Call, Call],
  meeting: Meeting,
  clients: PrismaClient[],
): Promise<{ answers: string[]; possible: Order[] }> {
  const [one, other, third] = clients as [PrismaClient, PrismaClient, PrismaClient];
  const answers: unknown[] = [];
  const start = async (at: 0 | 1, client: PrismaClient) => {
    answers[at] = await calls[at].perform(client);
  };
  let possible = ORDERS;
  if (meeting === 'freely') await Promise.all([start(0, one), start(1, other)]);
  else if (meeting === 'behind one lock') {
    const lock = await holding(third, (sql) => sql.$queryRaw`SELECT 1 FROM jobs FOR UPDATE`);
    await behind(lock, third, [start(0, one), start(1, other)]);
  } else {
    const order = meeting === 'first holds' ? ORDERS[0]! : ORDERS[1]!;
    const lock = await holding(one, (sql) => start(order[0], transactionAs(sql)));
    // Who waited for the holder's commit came after it: nothing else may show.
    if (await behind(lock, third, [start(order[1], other)])) possible = [order];
  }
  // Who met a lock that it does not wait for comes again, as the engine does.
  for (const at of [0, 1] as const) if (calls[at].again?.(answers[at])) await start(at, third);
  return { answers: answers.map(inOrder), possible };
}

/** Lets go of a lock as soon as all who came meanwhile have an answer or wait. True when some waited. */
async function behind(
  lock: { commit(): Promise<void> },
  watcher: PrismaClient,
  coming: Promise<void>[],
): Promise<boolean> {
  let settled = 0;
  const all = Promise.all(coming.map((one) => one.finally(() => settled++)));
  // It is looked at further down, after the lock.
  all.catch(() => {});
  for (let waiting = 0; settled + waiting < coming.length;) {
    const [row] = await watcher.$queryRaw<{ n: number }[]>`
      SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    waiting = row?.n ?? 0;
  }
  const waited = settled < coming.length;
  await lock.commit();
  await all;
  return waited;
}

/** A transaction in the place of a client, raw statements included. */
export function transactionAs(sql: Sql): PrismaClient {
  const { $executeRawUnsafe: execute, $queryRawUnsafe: query } = sql as PrismaClient;
  const client = inside(sql);
  const raw = {
    $executeRawUnsafe: (...args: Parameters<typeof execute>) =>
      (sql as PrismaClient).$executeRawUnsafe(...args),
    $queryRawUnsafe: (...args: Parameters<typeof query>) => (sql as PrismaClient).$queryRawUnsafe(...args),
  };
  const whole: unknown = Object.assign(client, raw, {
    $transaction: (run: (inner: PrismaClient) => Promise<unknown>) => run(whole as PrismaClient),
  });
  return whole as PrismaClient;
}
