/** A task that waits to be admitted. */
export interface WaitingTask {
  taskId: string;
  jobId: string;
  /** Smaller goes first; see `rankOf`. */
  rank: number;
}

/** The first waiting tasks of one owner and one type, in order of their rank. */
export interface Lane<T extends WaitingTask = WaitingTask> {
  ownerId: string;
  type: string;
  tasks: T[];
}

/** How many more tasks may be admitted. */
export interface Room {
  /** In all. */
  total: number;
  /** Of a type; not limited when absent. */
  types: ReadonlyMap<string, number>;
  /** Of an owner; `perOwner` when absent. */
  owners: ReadonlyMap<string, number>;
  /** Of any owner that is not in `owners`; not limited when undefined. */
  perOwner?: number | undefined;
}

/** What was picked, in order, and whose turn was the last one. */
export interface Picked<T> {
  tasks: T[];
  lastOwner: string | undefined;
}

/**
 * Picks tasks in fair turns: one task of each owner that has one to give, in the order of `lanes`, round after round,
 * and of an owner always the one with the smallest rank. A type or an owner that is at its limit is passed over, so
 * that it holds nobody else up. With the lanes in the order that follows the last owner served, an owner waits for
 * one turn of each other owner at most, however much these have waiting.
 */
export function pickTasks<T extends WaitingTask>(lanes: Lane<T>[], room: Room): Picked<T> {
  const types = new Map(room.types);
  const owners = new Map(room.owners);
  const turns = new Map<string, { type: string; tasks: T[]; next: number }[]>();
  for (const { ownerId, type, tasks } of lanes) {
    const own = turns.get(ownerId) ?? [];
    own.push({ type, tasks, next: 0 });
    turns.set(ownerId, own);
  }
  const picked: Picked<T> = { tasks: [], lastOwner: undefined };
  while (turns.size > 0) {
    for (const [ownerId, own] of turns) {
      if (picked.tasks.length >= room.total) return picked;
      const left = owners.get(ownerId) ?? room.perOwner;
      const lane = left === undefined || left > 0 ? bestOf(own, types) : undefined;
      const task = lane?.tasks[lane.next];
      if (!lane || !task) {
        turns.delete(ownerId);
        continue;
      }
      lane.next++;
      picked.tasks.push(task);
      picked.lastOwner = ownerId;
      take(types, lane.type, types.get(lane.type));
      take(owners, ownerId, left);
    }
  }
  return picked;
}

function bestOf<T extends WaitingTask>(
  lanes: { type: string; tasks: T[]; next: number }[],
  types: ReadonlyMap<string, number>,
) {
  let best: (typeof lanes)[number] | undefined;
  for (const lane of lanes) {
    const task = lane.tasks[lane.next];
    if (!task || (types.get(lane.type) ?? 1) < 1) continue;
    if (!best || task.rank < (best.tasks[best.next]?.rank ?? Infinity)) best = lane;
  }
  return best;
}

function take(room: Map<string, number>, key: string, left: number | undefined): void {
  if (left !== undefined) room.set(key, left - 1);
}

/**
 * The order among one owner's tasks. A point of priority is worth a fixed time of waiting, so that what has waited
 * long enough goes before anything that comes later: nothing starves.
 * @param since when the job came, or was due, in milliseconds
 * @param pointMs what a point of priority is worth
 * @returns seconds
 */
export function rankOf(since: number, priority: number, pointMs: number): number {
  return (since - priority * pointMs) / 1000;
}

/** How many messages of a queue may wait in Redis at most. */
const WIDEST_WINDOW = 5000;

/**
 * How many messages may wait in Redis, next to the slots of the workers. No more than there are slots, for what waits
 * there has its place for good; twice as many when most of them were gone since the last look and more is waiting, so
 * that short tasks do not wait for the next look; less again when they are not.
 * @param window of the last look
 * @param waiting messages in Redis
 */
export function nextWindow(
  window: number,
  { slots, waiting, backlogged }: { slots: number; waiting: number; backlogged: boolean },
): number {
  if (slots === 0) return 0;
  if (backlogged && waiting < window / 2)
    return Math.min(Math.max(slots, window * 2), Math.max(slots, WIDEST_WINDOW));
  return Math.max(slots, Math.floor(window * 0.9));
}
