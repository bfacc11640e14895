import { type Lane, pickTasks, type Room } from '@app/core';
import type { Sql } from '@app/platform/prisma/database.js';
import { findLanes, type HeldTask, readHeads, readHeldBy } from './held-tasks.js';
import { type Holder, isCounted, setHolder, type TypeLimits } from './type-limits.js';

/** Lanes that are looked at in one pass; the others have their turn in the next ones. */
const MOST_LANES = 500;

/** What a pass has picked in one queue. */
export interface Turn {
  tasks: (HeldTask & { type: string; ownerId: string; counted: boolean })[];
  lastOwner: string | undefined;
  /** Whether tasks are left that only wait for room in the queue. */
  backlogged: boolean;
  /** Whether there was room left, and more to look at. */
  more: boolean;
}

/** Picks the held tasks of a queue whose turn it is, and settles which jobs the types that run them one by one run. */
export async function takeTurn(
  sql: Sql,
  queue: { name: string; lastOwner: string; held: boolean; paused: boolean },
  room: Room,
  limits: ReadonlyMap<string, TypeLimits>,
  holders: Map<string, Holder>,
): Promise<Turn> {
  const turn: Turn = { tasks: [], lastOwner: undefined, backlogged: false, more: false };
  if (!queue.held) return turn;
  if (room.total <= 0) return { ...turn, backlogged: !queue.paused };
  const found = await findLanes(sql, queue.name, queue.lastOwner, MOST_LANES);
  const hasRoom = (type: string) => limits.has(type) && (room.types.get(type) ?? 1) > 0;
  const open = found.filter(({ type }) => hasRoom(type) && !holders.has(type));
  const depth = Math.min(room.total, Math.ceil((2 * room.total) / Math.max(1, open.length)));
  const lanes = await readHeads(sql, queue.name, open, depth);
  for (const holder of holders.values()) {
    if (hasRoom(holder.type)) lanes.push(await readHeldBy(sql, queue.name, holder, depth));
  }
  const picked = pickTasks(lanes, room);
  const laneOf = new Map(lanes.flatMap((lane) => lane.tasks.map((task) => [task.taskId, lane] as const)));
  for (const task of picked.tasks) {
    const { type, ownerId } = laneOf.get(task.taskId) as Lane<HeldTask>;
    const policy = limits.get(type);
    if (policy?.oneByOne && !holders.has(type)) {
      const holder = { type, ownerId, jobId: task.jobId };
      await setHolder(sql, holder);
      holders.set(type, holder);
    }
    const waits = policy?.oneByOne && holders.get(type)?.jobId !== task.jobId;
    if (!waits) turn.tasks.push({ ...task, type, ownerId, counted: isCounted(policy, room) });
  }
  const full = picked.tasks.length >= room.total;
  const deeper = found.length === MOST_LANES || lanes.some(({ tasks }) => tasks.length === depth);
  const left = lanes.reduce((sum, { tasks }) => sum + tasks.length, 0) > picked.tasks.length;
  return {
    ...turn,
    lastOwner: picked.lastOwner,
    backlogged: full && (deeper || left),
    more: !full && deeper && turn.tasks.length > 0,
  };
}
