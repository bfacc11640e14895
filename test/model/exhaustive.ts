import type { Call } from './call.js';
import { type World, runCall } from './commands.js';
import { History } from './history.js';
import { modelFaults } from './job-moves.js';
import { emptyTables, openLane } from './lanes.js';
import { type Model, newModel } from './model.js';
import { transactionAs } from './race.js';
import * as steps from './race-steps.js';
import { heldBy } from './task-moves.js';
import { shortIds } from './view.js';

/** The job that is searched: three tasks, and two workers that hold one of them each at most. */
export interface Search {
  name: string;
  submit: Parameters<typeof steps.submit>[0];
  /** Calls after the submit that the model alone is searched to, and that the database is searched to as well. */
  depth: number;
  sqlDepth: number;
}

export const SEARCHES: Search[] = [
  {
    name: 'fail-fast, finalized',
    submit: { tasks: 3, finalize: true, maxAttempts: 2 },
    depth: 7,
    sqlDepth: 5,
  },
  {
    name: 'continue, resumable',
    submit: { tasks: 3, policy: 'continue', resumable: true, maxAttempts: 2 },
    depth: 7,
    sqlDepth: 5,
  },
];

/** All that can be called in a state, in an order that depends on nothing else. */
function movesOf(model: Model): (() => Call)[] {
  const job = [...model.jobs.values()][0]!;
  const held = model.grants.filter((grant) => heldBy(model, grant));
  const stale = model.grants.find((grant) => !heldBy(model, grant));
  const moves: steps.Step[] = [steps.cancel, steps.retry];
  job.tasks.forEach((task, at) => {
    if (task.status === 'active') {
      moves.push(
        steps.finish(at),
        steps.finish(at, 'failed'),
        steps.progress(at),
        steps.finish(at, 'paused'),
      );
      if (task.attempt < job.maxAttempts) moves.push(steps.finish(at, 'retrying'));
      if (task.attempt < job.maxAttempts && task.crashes < 2) moves.push(steps.dieAlone(at));
      if (task.lease === 'runs') moves.push(steps.crash(at));
    }
    // One that is refused for its state too, but no third worker.
    if (held.length < 2) moves.push(steps.claim(at));
  });
  if (job.tasks.some(({ gate, status }) => gate === 'held' && status === 'queued')) moves.push(steps.admit);
  if (stale) moves.push(steps.finishOf(stale));
  if (job.tasks.some(({ lease }) => lease === 'ended')) moves.push(steps.sweep);
  if (job.status === 'finalizing') moves.push(steps.takeAnew);
  if (model.turns.length > 0) moves.push(steps.end(), steps.end(0, true));
  if (model.turns.length > 1) moves.push(steps.end(1));
  return moves.map((step) => () => step(model));
}

/** What tells two states apart: not the way that led there, but all that can still matter. */
function keyOf(model: Model): string {
  const [job] = model.jobs.values();
  const { status, generation, progress, planning, turn, tasks, receipts } = job!;
  const rows = tasks.map((task) => [
    task.status,
    task.generation,
    task.fence,
    task.attempt,
    task.crashes,
    task.suspect,
    task.progress,
    task.lease,
    task.gate,
  ]);
  const grants = model.grants.map(({ taskId, fence }) => `${taskId}:${fence}`).toSorted();
  const turns = model.turns.map((one) => `${one.epoch}.${one.generation}`);
  return JSON.stringify([status, generation, progress, planning, turn, receipts, rows, grants, turns]);
}

interface State {
  model: Model;
  /** The first way that led here, as numbers of moves. */
  path: number[];
}

export interface Found {
  states: number;
  moves: number;
  sqlMoves: number;
  faults: string[];
}

/** Visits every state that can be reached, each once, and then makes every call of the nearer ones on the database too. */
export async function search(of: Search, lanes: number): Promise<Found> {
  const root = newModel();
  steps.submit(of.submit)(root).expect(root);
  const seen = new Set([keyOf(root)]);
  const found: Found = { states: 1, moves: 0, sqlMoves: 0, faults: [] };
  const near = new Map<string, State>([['', { model: root, path: [] }]]);
  let edge: State[] = [{ model: root, path: [] }];
  for (let depth = 0; depth < of.depth; depth++) {
    const next: State[] = [];
    for (const { model, path } of edge) {
      for (let move = movesOf(model).length - 1; move >= 0; move--) {
        const after = structuredClone(model);
        const call = movesOf(after)[move]!();
        call.expect(after);
        found.moves++;
        const key = keyOf(after);
        if (seen.has(key)) continue;
        seen.add(key);
        const state = { model: after, path: [...path, move] };
        found.faults.push(
          ...modelFaults(after).map((fault) => `the model, after ${shortIds(call.label)}: ${fault}`),
        );
        next.push(state);
        if (state.path.length < of.sqlDepth) near.set(state.path.join(), state);
      }
    }
    edge = next;
  }
  found.states = seen.size;
  await searchDatabase(of, near, lanes, found);
  return found;
}

/** States two moves from the start, each with all that was first reached through it, are the units of work. */
const UNIT = 2;

async function searchDatabase(
  of: Search,
  near: Map<string, State>,
  lanes: number,
  found: Found,
): Promise<void> {
  const units = [...near.values()].filter(({ path }) => path.length <= UNIT);
  const worker = async () => {
    const store = await openLane();
    const client = store.clients[0]!;
    try {
      for (let unit = units.shift(); unit && found.faults.length === 0; unit = units.shift()) {
        const { path } = unit;
        await emptyTables(client);
        const whole = client.$transaction(
          async (sql) => {
            const world: World = { client: transactionAs(sql), history: new History(), calls: 0 };
            const model = newModel();
            await runCall(steps.submit(of.submit)(model), model, world);
            for (const move of path) await runCall(movesOf(model)[move]!(), model, world);
            await expand(model, path, world, near, found);
          },
          { timeout: 300_000 },
        );
        await whole.catch((error: Error) => found.faults.push(error.message));
      }
    } finally {
      await store.close();
    }
  };
  await Promise.all(Array.from({ length: lanes }, worker));
}

/** Makes every call that a state has, each from the same rows, and goes on where that leads to a new state. */
async function expand(
  model: Model,
  path: number[],
  world: World,
  near: Map<string, State>,
  found: Found,
): Promise<void> {
  const point = `at_${path.length}`;
  for (let move = movesOf(model).length - 1; move >= 0; move--) {
    const after = structuredClone(model);
    const before = world.history.copy();
    await world.client.$executeRawUnsafe(`SAVEPOINT ${point}`);
    await runCall(movesOf(after)[move]!(), after, world);
    found.sqlMoves++;
    const further = [...path, move];
    // A unit goes as deep as it has states; the ones nearer to the start have units of their own below them.
    if (further.length > UNIT && near.has(further.join())) await expand(after, further, world, near, found);
    await world.client.$executeRawUnsafe(`ROLLBACK TO SAVEPOINT ${point}`);
    world.history = before;
  }
}
