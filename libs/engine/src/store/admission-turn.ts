import { type Lane, pickTasks, type Room } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';
import { findOwners, type HeldTask, readHeads, readHeldBy } from './held-tasks.js';
import { type Holder, isCounted, setHolder, type TypeLimits } from './type-limits.js';

/** Owners that are looked at in one pass; the others have their turn in the next ones. */
const MOST_OWNERS = 500;

/** What a pass has picked in one queue. */
export interface Turn {
  tasks: (HeldTask & { type: string; ownerId: string; counted: boolean })[];
  /** Where the next turn goes on. */
  lastOwner: string | undefined;
  /** Whether tasks are left that only wait for room in the queue. */
  backlogged: boolean;
  /** Whether there was room left, and more to look at. */
  more: boolean;
}

/** Picks the held tasks of a queue whose turn it is, and settles which jobs the types that run them one by one run. */
export async function takeTurn(
  sql: Sql,
  queue: { name: string; lastOwner: string; slots: number; held: boolean; paused: boolean },
  room: Room,
  limits: ReadonlyMap<string, TypeLimits>,
  holders: Map<string, Holder>,
): Promise<Turn> {
  const turn: Turn = { tasks: [], lastOwner: undefined, backlogged: false, more: false };
  if (!queue.held) return turn;
  // Without a worker no room will come by itself.
  if (room.total <= 0) return { ...turn, backlogged: !queue.paused && queue.slots > 0 };
  const owners = await findOwners(sql, queue.name, queue.lastOwner, MOST_OWNERS);
  const open = [...limits.keys()].filter((type) => (room.types.get(type) ?? 1) > 0);
  const free = open.filter((type) => !holders.has(type));
  const depth = Math.min(room.total, Math.ceil((2 * room.total) / Math.max(1, owners.length)));
  const heads = await readHeads(sql, queue.name, owners, free, depth);
  for (const type of open) {
    const holder = holders.get(type);
    if (holder) heads.push(await readHeldBy(sql, queue.name, holder, depth));
  }
  const lanes = inOrder(onlyFirstJobs(heads, limits, holders), owners);
  const picked = pickTasks(lanes, room);
  const laneOf = new Map(lanes.flatMap((lane) => lane.tasks.map((task) => [task.taskId, lane] as const)));
  for (const task of picked.tasks) {
    const { type, ownerId } = laneOf.get(task.taskId) as Lane<HeldTask>;
    if (limits.get(type)?.oneByOne && !holders.has(type)) {
      const holder = { type, ownerId, jobId: task.jobId };
      await setHolder(sql, holder);
      holders.set(type, holder);
    }
    turn.tasks.push({ ...task, type, ownerId, counted: isCounted(limits.get(type), room) });
  }
  const full = turn.tasks.length >= room.total;
  const deeper = owners.length === MOST_OWNERS || lanes.some(({ tasks }) => tasks.length === depth);
  const left = lanes.reduce((sum, { tasks }) => sum + tasks.length, 0) > turn.tasks.length;
  return {
    ...turn,
    // Owners that have nothing to give now must not keep the next pass from those after them.
    lastOwner: picked.lastOwner ?? (owners.length === MOST_OWNERS ? owners.at(-1) : undefined),
    backlogged: full && (deeper || left),
    more: !full && deeper && turn.tasks.length > 0,
  };
}

/** Of types whose jobs run one by one, of which none runs: only the job whose turn it is. */
function onlyFirstJobs(
  lanes: Lane<HeldTask>[],
  limits: ReadonlyMap<string, TypeLimits>,
  holders: ReadonlyMap<string, Holder>,
): Lane<HeldTask>[] {
  const first = new Map<string, string>();
  for (const { type, tasks } of lanes) {
    if (limits.get(type)?.oneByOne && !holders.has(type) && tasks[0] && !first.has(type))
      first.set(type, tasks[0].jobId);
  }
  return lanes.map((lane) => {
    const jobId = first.get(lane.type);
    return jobId === undefined ? lane : { ...lane, tasks: lane.tasks.filter((task) => task.jobId === jobId) };
  });
}

/** The lanes in the order of their owners' turns. */
function inOrder(lanes: Lane<HeldTask>[], owners: string[]): Lane<HeldTask>[] {
  const place = new Map(owners.map((owner, index) => [owner, index]));
  const placeOf = (lane: Lane<HeldTask>) => place.get(lane.ownerId) ?? owners.length;
  return lanes.filter(({ tasks }) => tasks.length > 0).toSorted((a, b) => placeOf(a) - placeOf(b));
}
