import { expect, test } from '@jest/globals';
import { type DueSchedule, judgeSlots } from './judge-slots.js';
import { Slots } from './slots.js';

const at = (time: string) => new Date(`2026-05-01T${time}Z`);
const minutes = new Slots({
  cron: '* * * * *',
  everyMs: null,
  anchor: at('00:00:00'),
  timezone: 'UTC',
  startAt: null,
  endAt: null,
});

const time = (date: Date | null | undefined) => date?.toISOString().slice(11, 16);

function judge(more: Partial<DueSchedule>) {
  const { fire, stretches, next } = judgeSlots({
    slots: minutes,
    nextSlot: at('12:00:00'),
    now: at('12:00:01'),
    delayOf: () => 0,
    misfire: 'latest',
    maxCatchUp: 3,
    catchUpWindowMs: 3_600_000,
    runsLeft: Infinity,
    pausedUntil: undefined,
    ...more,
  });
  return {
    fire: fire.map((slot) => `${time(slot.at)}${slot.catchUp ? ' catch-up' : ''}`),
    rows: stretches.map(
      ({ slot, until, count, outcome }) => `${outcome} ${count} ${time(slot)}-${time(until ?? slot)}`,
    ),
    next: time(next?.at),
  };
}

test('a slot that is due fires, and the next one is the next', () => {
  expect(judge({})).toEqual({ fire: ['12:00'], rows: [], next: '12:01' });
  expect(judge({ now: at('11:59:59') })).toEqual({ fire: [], rows: [], next: '12:00' });
});

test('feature 25: after half an hour of downtime one run stands for all that was missed', () => {
  expect(judge({ now: at('12:30:20') })).toEqual({
    fire: ['12:30'],
    rows: ['merged 30 12:00-12:29'],
    next: '12:31',
  });
});

test('feature 25: what is older than the window is missed, and the rest is merged with the one run', () => {
  expect(judge({ now: at('14:00:20'), catchUpWindowMs: 600_000 })).toEqual({
    fire: ['14:00'],
    rows: ['missed 111 12:00-13:50', 'merged 9 13:51-13:59'],
    next: '14:01',
  });
});

test('each policy has its say of missed slots', () => {
  expect(judge({ now: at('12:10:20'), misfire: 'skip' })).toEqual({
    fire: ['12:10'],
    rows: ['missed 10 12:00-12:09'],
    next: '12:11',
  });
  expect(judge({ now: at('12:10:20'), misfire: 'all' })).toEqual({
    fire: ['12:08 catch-up', '12:09 catch-up', '12:10'],
    rows: ['missed 8 12:00-12:07'],
    next: '12:11',
  });
});

test('a slot of long ago whose successor is not due is a catch-up run, or missed', () => {
  const daily = new Slots({
    cron: '0 12 * * *',
    everyMs: null,
    anchor: at('00:00:00'),
    timezone: 'UTC',
    startAt: null,
    endAt: null,
  });
  const late = { slots: daily, now: at('12:30:00') };
  expect(judge(late)).toMatchObject({ fire: ['12:00 catch-up'], rows: [] });
  expect(judge({ ...late, misfire: 'skip' })).toMatchObject({ fire: [], rows: ['missed 1 12:00-12:00'] });
  expect(judge({ ...late, catchUpWindowMs: 60_000 })).toMatchObject({
    fire: [],
    rows: ['missed 1 12:00-12:00'],
  });
});

test('the slots of a pause are one row, and what comes after its end is judged as ever', () => {
  expect(judge({ now: at('12:30:20'), pausedUntil: at('12:20:00') })).toEqual({
    fire: ['12:30'],
    rows: ['skipped-paused 20 12:00-12:19', 'merged 10 12:20-12:29'],
    next: '12:31',
  });
  expect(judge({ now: at('12:10:20'), pausedUntil: at('13:00:00') })).toEqual({
    fire: [],
    rows: ['skipped-paused 11 12:00-12:10'],
    next: '12:11',
  });
});

test('a delayed slot is not due before its delay is over', () => {
  const delayed = { delayOf: () => 30_000 };
  expect(judge({ ...delayed, now: at('12:00:20') })).toEqual({ fire: [], rows: [], next: '12:00' });
  expect(judge({ ...delayed, now: at('12:00:40') })).toEqual({ fire: ['12:00'], rows: [], next: '12:01' });
  expect(judge({ ...delayed, now: at('12:02:10') })).toEqual({
    fire: ['12:01'],
    rows: ['merged 1 12:00-12:00'],
    next: '12:02',
  });
});

test('no more slots fire than the schedule has runs left', () => {
  expect(judge({ misfire: 'all', now: at('12:02:10'), runsLeft: 1 }).fire).toEqual(['12:00 catch-up']);
  expect(judge({ runsLeft: 0 })).toEqual({ fire: [], rows: ['missed 1 12:00-12:00'], next: '12:01' });
});

test('a schedule of every second that was down for a week takes two rows and one job, at once', () => {
  const seconds = new Slots({
    cron: '* * * * * *',
    everyMs: null,
    anchor: at('00:00:00'),
    timezone: 'Europe/Berlin',
    startAt: null,
    endAt: null,
  });
  const before = process.cpuUsage();
  const now = new Date(at('12:00:00').getTime() + 7 * 86_400_000);
  const { fire, stretches } = judgeSlots({
    slots: seconds,
    nextSlot: at('12:00:00'),
    now,
    delayOf: () => 0,
    misfire: 'latest',
    maxCatchUp: 1,
    catchUpWindowMs: 86_400_000,
    runsLeft: Infinity,
    pausedUntil: undefined,
  });
  expect(fire.map((slot) => slot.at)).toEqual([now]);
  expect(stretches.map(({ count, outcome }) => `${outcome} ${count}`)).toEqual([
    'missed 518400',
    'merged 86400',
  ]);
  // Of the processor: what else runs on the machine does not count.
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000);
});

test('feature 25: slots for which no run is left are missed, and have a row', () => {
  expect(judge({ now: at('12:02:20'), misfire: 'all', runsLeft: 1 })).toEqual({
    fire: ['12:00 catch-up'],
    rows: ['missed 2 12:01-12:02'],
    next: '12:03',
  });
  expect(judge({ now: at('12:02:20'), misfire: 'all', runsLeft: 0 })).toMatchObject({
    fire: [],
    rows: ['missed 3 12:00-12:02'],
  });
});

test('C33: a slot that the rules of its zone have moved since it was written down comes once all the same', () => {
  const noon = new Slots({
    cron: '0 12 * * *',
    everyMs: null,
    anchor: at('00:00:00'),
    timezone: 'UTC',
    startAt: null,
    endAt: null,
  });
  const moved = (nextSlot: string, now: string, more: Partial<DueSchedule> = {}) =>
    judge({ slots: noon, nextSlot: at(nextSlot), now: at(now), ...more });
  // It was 13:00 by the rules of then, and 12:00 has passed already.
  expect(moved('13:00:00', '12:30:00')).toEqual({ fire: [], rows: [], next: '13:00' });
  expect(moved('13:00:00', '13:00:01')).toEqual({ fire: ['13:00'], rows: [], next: '12:00' });
  const dayLater = new Date(at('12:00:01').getTime() + 86_400_000);
  expect(moved('13:00:00', '13:00:01', { now: dayLater })).toMatchObject({
    fire: ['12:00'],
    rows: ['missed 1 13:00-13:00'],
  });
  expect(moved('13:00:00', '14:30:00', { misfire: 'skip' }).rows).toEqual(['missed 1 13:00-13:00']);
  const resumed = moved('13:00:00', '14:30:00', { pausedUntil: at('14:00:00') });
  expect(resumed).toEqual({ fire: [], rows: ['skipped-paused 1 13:00-13:00'], next: '12:00' });
  // It was 11:00, and is to come.
  expect(moved('11:00:00', '11:00:01')).toEqual({ fire: [], rows: [], next: '12:00' });
});
