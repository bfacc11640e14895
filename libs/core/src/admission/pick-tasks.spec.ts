import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { type Lane, nextWindow, pickTasks, rankOf, type Room, type WaitingTask } from './pick-tasks.js';

let count = 0;
const task = (rank: number): WaitingTask => ({ taskId: `t${++count}`, jobId: 'j', rank });
const lane = (ownerId: string, ranks: number[], type = 'a'): Lane => ({
  ownerId,
  type,
  tasks: ranks.map(task),
});
const room = (
  total: number,
  limits: { types?: [string, number][]; owners?: [string, number][] } = {},
): Room => ({
  total,
  types: new Map(limits.types),
  owners: new Map(limits.owners),
});
const ranksOf = (lanes: Lane[], free: Room) => pickTasks(lanes, free).tasks.map(({ rank }) => rank);

describe('the pick of tasks to admit', () => {
  test('takes turns between owners, whatever they have waiting', () => {
    const lanes = [lane('big', [1, 2, 3, 4, 5]), lane('small', [9])];
    expect(ranksOf(lanes, room(4))).toEqual([1, 9, 2, 3]);
  });

  test('takes of one owner the smallest rank first, over all its types', () => {
    expect(ranksOf([lane('o', [2, 5], 'a'), lane('o', [1, 9], 'b')], room(3))).toEqual([1, 2, 5]);
  });

  test('passes a type at its limit over and goes on with the others', () => {
    const lanes = [lane('o', [1, 2, 3], 'slow'), lane('o', [7], 'quick')];
    expect(ranksOf(lanes, room(9, { types: [['slow', 1]] }))).toEqual([1, 7]);
  });

  test('passes an owner at its limit over', () => {
    const lanes = [lane('busy', [1, 2]), lane('other', [5, 6])];
    expect(ranksOf(lanes, room(9, { owners: [['busy', 0]] }))).toEqual([5, 6]);
  });

  test('gives every owner the same limit where there is one', () => {
    const lanes = [lane('a', [1, 2, 3]), lane('b', [4, 5, 6])];
    expect(ranksOf(lanes, { ...room(9, { owners: [['b', 1]] }), perOwner: 2 })).toEqual([1, 4, 2]);
  });

  test('tells whose turn was the last one, and nobody when there is no room', () => {
    const lanes = [lane('a', [1]), lane('b', [1]), lane('c', [1])];
    expect(pickTasks(lanes, room(2)).lastOwner).toBe('b');
    expect(pickTasks(lanes, room(0))).toEqual({ tasks: [], lastOwner: undefined });
  });

  test('never goes over a limit, leaves no room unused, and gives nobody two turns before another has one', () => {
    const lanes = fc
      .uniqueArray(fc.record({ ownerId: fc.constantFrom('a', 'b', 'c'), type: fc.constantFrom('x', 'y') }), {
        selector: ({ ownerId, type }) => `${ownerId} ${type}`,
      })
      .chain((names) =>
        fc.tuple(
          ...names.map(({ ownerId, type }) =>
            fc.array(fc.nat(50), { maxLength: 6 }).map((ranks) =>
              lane(
                ownerId,
                ranks.toSorted((p, q) => p - q),
                type,
              ),
            ),
          ),
        ),
      );
    const limits = fc.record({ total: fc.nat(12), x: fc.nat(4), a: fc.nat(4) });
    fc.assert(
      fc.property(lanes, limits, (all, { total, x, a }) => {
        const { tasks } = pickTasks(all, room(total, { types: [['x', x]], owners: [['a', a]] }));
        const laneOf = (taskId: string) =>
          all.find((one) => one.tasks.some((waiting) => waiting.taskId === taskId));
        const owners = tasks.map(({ taskId }) => laneOf(taskId)?.ownerId ?? '');
        const types = tasks.map(({ taskId }) => laneOf(taskId)?.type);
        expect(tasks.length).toBeLessThanOrEqual(total);
        expect(types.filter((type) => type === 'x').length).toBeLessThanOrEqual(x);
        expect(owners.filter((owner) => owner === 'a').length).toBeLessThanOrEqual(a);
        expect(new Set(tasks.map(({ taskId }) => taskId)).size).toBe(tasks.length);
        const left = all.flatMap((one) =>
          one.tasks
            .filter((waiting) => !tasks.includes(waiting))
            .filter(() => one.type !== 'x' || types.filter((type) => type === 'x').length < x)
            .filter(() => one.ownerId !== 'a' || owners.filter((owner) => owner === 'a').length < a),
        );
        if (tasks.length < total) expect(left).toEqual([]);
        // Between two turns of an owner, every other one has had one that had anything to give then and later.
        for (const owner of new Set(owners)) {
          const last = owners.lastIndexOf(owner);
          const turnsOf = (name: string) => owners.slice(0, last).filter((each) => each === name).length;
          for (const other of new Set(owners)) expect(turnsOf(other)).toBeLessThanOrEqual(turnsOf(owner) + 1);
        }
      }),
    );
  });
});

describe('the rank of a job', () => {
  test('puts a higher priority first, and among equals the older one', () => {
    expect(rankOf(60_000, 1, 60_000)).toBe(0);
    expect(rankOf(1000, 5, 1000)).toBeLessThan(rankOf(1000, 0, 1000));
    expect(rankOf(1000, 0, 1000)).toBeLessThan(rankOf(2000, 0, 1000));
  });

  test('lets what has waited long enough go before any later priority', () => {
    expect(rankOf(0, 0, 60_000)).toBeLessThan(rankOf(11 * 60_000, 10, 60_000));
  });
});

describe('the window of a queue', () => {
  test('is nothing without a worker, and as many as there are slots at rest', () => {
    expect(nextWindow(400, { slots: 0, waiting: 0, backlogged: true })).toBe(0);
    expect(nextWindow(0, { slots: 8, waiting: 0, backlogged: false })).toBe(8);
    expect(nextWindow(8, { slots: 8, waiting: 8, backlogged: true })).toBe(8);
  });

  test('grows while what was sent is gone before the next look, to a limit, and shrinks again', () => {
    expect(nextWindow(100, { slots: 8, waiting: 10, backlogged: true })).toBe(200);
    expect(nextWindow(4000, { slots: 8, waiting: 0, backlogged: true })).toBe(5000);
    expect(nextWindow(100, { slots: 8, waiting: 60, backlogged: true })).toBe(90);
    expect(nextWindow(100, { slots: 8, waiting: 0, backlogged: false })).toBe(90);
  });
});
