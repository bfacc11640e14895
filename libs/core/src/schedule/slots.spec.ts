import { afterEach, expect, jest, test } from '@jest/globals';
import { IANAZone } from 'luxon';
import { compareZone } from '../../../../test/schedules/oracle.js';
import { CronTimes } from './cron-times.js';
import { Slots, type SlotRule } from './slots.js';
import { isTimeZone } from './zone.js';

afterEach(() => void jest.restoreAllMocks());

const slotsOf = (rule: Partial<SlotRule>) =>
  new Slots({
    cron: null,
    everyMs: null,
    anchor: new Date('2026-01-01T00:00:00Z'),
    timezone: 'UTC',
    startAt: null,
    endAt: null,
    ...rule,
  });
const instants = (cron: string, timezone: string, after: string, limit: number) =>
  slotsOf({ cron, timezone })
    .after(new Date(after), limit)
    .map(({ at, gap }) => `${at.toISOString().slice(0, 16)}${gap ? ' gap' : ''}`);

test('E3: a job of every midnight loses no day where the clocks skip midnight', () => {
  expect(instants('0 0 * * *', 'America/Santiago', '2026-09-05T00:00:00Z', 3)).toEqual([
    '2026-09-05T04:00',
    '2026-09-06T04:00 gap',
    '2026-09-07T03:00',
  ]);
  expect(instants('0 0 * * *', 'Africa/Cairo', '2026-04-22T23:00:00Z', 2)).toEqual([
    '2026-04-23T22:00 gap',
    '2026-04-24T21:00',
  ]);
  expect(instants('0 0 * * *', 'Asia/Beirut', '2026-03-28T00:00:00Z', 2)).toEqual([
    '2026-03-28T22:00 gap',
    '2026-03-29T21:00',
  ]);
  expect(instants('0 0 * * *', 'America/Havana', '2026-03-07T12:00:00Z', 2)).toEqual([
    '2026-03-08T05:00 gap',
    '2026-03-09T04:00',
  ]);
});

test('C33: a daily job runs once on the day of the gap and on the day of the overlap', () => {
  expect(instants('30 2 * * *', 'America/New_York', '2026-03-07T00:00:00Z', 3)).toEqual([
    '2026-03-07T07:30',
    '2026-03-08T07:00 gap',
    '2026-03-09T06:30',
  ]);
  expect(instants('30 1 * * *', 'America/New_York', '2026-10-31T00:00:00Z', 3)).toEqual([
    '2026-10-31T05:30',
    '2026-11-01T05:30',
    '2026-11-02T06:30',
  ]);
  // Asked from within the second pass of the hour.
  expect(instants('30 1 * * *', 'America/New_York', '2026-11-01T06:10:00Z', 1)).toEqual(['2026-11-02T06:30']);
});

test('C33: what comes every half hour keeps its spacing over both changes of the clocks', () => {
  for (const after of ['2026-04-04T12:00:00Z', '2026-10-03T12:00:00Z']) {
    const slots = slotsOf({ cron: '*/30 * * * *', timezone: 'Australia/Melbourne' }).after(
      new Date(after),
      20,
    );
    const gaps = slots.map(
      ({ at }, nth) => at.getTime() - (slots[nth - 1]?.at.getTime() ?? at.getTime() - 1_800_000),
    );
    expect(new Set(gaps)).toEqual(new Set([1_800_000]));
  }
});

test('times that the clocks skip are one slot, shared with a time at the end of the gap', () => {
  const day = ['America/New_York', '2026-03-08T05:00:00Z'] as const;
  expect(instants('*/10 2 * * *', ...day, 2)).toEqual(['2026-03-08T07:00 gap', '2026-03-09T06:00']);
  expect(instants('0 2,3 * * *', ...day, 2)).toEqual(['2026-03-08T07:00 gap', '2026-03-09T06:00']);
});

test('C33: the slots equal those of an independent oracle around a change in zones of every kind', () => {
  const zones = ['America/New_York', 'Australia/Lord_Howe', 'Africa/Casablanca', 'Asia/Kolkata'];
  const found = zones.map((zone) =>
    compareZone(zone, new Date('2026-02-01T00:00:00Z'), new Date('2026-06-01T00:00:00Z'), 1, 1),
  );
  expect(found.flatMap(({ differences }) => differences)).toEqual([]);
  expect(found.reduce((sum, { transitions }) => sum + transitions, 0)).toBeGreaterThanOrEqual(4);
});

test('an interval is counted in real time from its anchor, within its limits', () => {
  const rule = {
    everyMs: 90_000,
    startAt: new Date('2026-01-01T00:01:00Z'),
    endAt: new Date('2026-01-01T00:06:00Z'),
  };
  const slots = slotsOf(rule);
  expect(
    slots.after(new Date('2025-01-01T00:00:00Z'), 9).map(({ at }) => at.toISOString().slice(14, 19)),
  ).toEqual(['01:30', '03:00', '04:30']);
  expect(slots.count(new Date('2025-01-01T00:00:00Z'), new Date('2027-01-01T00:00:00Z'))).toBe(3);
});

test('the slots of a week of seconds are counted, not enumerated, and the last are found', () => {
  const slots = slotsOf({ cron: '* * * * * *', timezone: 'Europe/Berlin' });
  const [from, to] = [new Date('2026-03-26T00:00:00Z'), new Date('2026-04-02T00:00:00Z')];
  expect(slots.count(from, to)).toBe(7 * 86_400);
  expect(slots.last(from, to, 2).map(({ at }) => at.toISOString())).toEqual([
    '2026-04-01T23:59:59.000Z',
    '2026-04-02T00:00:00.000Z',
  ]);
});

test.each([
  ['0 0 31 4 *', /No date/],
  ['0 0 30 2 *', /No date/],
  ['0 0 30,31 2 *', /No date/],
  ['61 * * * *', /minute/],
  ['99 * * * *', /minute/],
  ['* * * *', /five fields/],
  ['', /five fields/],
  ['* * * * * * *', /five fields/],
  ['@every 1ms', /every instead/],
  ['@reboot', /aliases/],
  ['0 0 L * *', /numbers/],
  ['0 0 * * MON#2', /numbers/],
  ['0 0 ? * *', /numbers/],
])('C34: the expression %j is refused at once', (cron, message) => {
  const before = process.cpuUsage();
  expect(() => CronTimes.parse(cron)).toThrow(message);
  // Of the processor: what else runs on the machine does not count.
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000);
});

test('security input 71: an expression of 5 kB is not looked at', () => {
  expect(() => CronTimes.parse('* '.repeat(2500))).toThrow(/100 characters/);
});

test.each(['0 0 29 2 *', '0 0 31 2 MON', '@daily', '0 0 * jan-mar MON-FRI', '*/5 * * * * *', '0 0 * * 7'])(
  'C34: the expression %j is accepted',
  (cron) => {
    expect(slotsOf({ cron }).after(new Date('2026-01-01T00:00:00Z'), 2)).toHaveLength(2);
  },
);

test.each(['Mars/Base', '', 'local', '+01:00', 'Europe/Berlin; DROP', '../etc/passwd', 'x'.repeat(5000)])(
  'C34: the time zone %j is refused',
  (timezone) => {
    expect(() => slotsOf({ cron: '0 0 * * *', timezone })).toThrow(/no such time zone/);
  },
);

test.each([
  ['* * * * * *', 1000],
  ['* * * * *', 60_000],
  ['0,40 * * * *', 1_200_000],
  ['0 0 * * *', 86_400_000],
  ['59 59 23,0 * * *', 3_600_000],
])('the shortest time between the times of %j is %d ms', (cron, ms) => {
  expect(CronTimes.parse(cron).shortestMs).toBe(ms);
});

test('a zone is kept once, however its name is written', () => {
  const create = jest.spyOn(IANAZone, 'create');
  const name = 'pacific/auckland';
  for (let nth = 0; nth < name.length; nth++) {
    const written = name.slice(0, nth) + name.slice(nth).toUpperCase();
    expect(isTimeZone(written)).toBe(true);
    expect(
      slotsOf({ cron: '0 12 * * *', timezone: written }).next(new Date('2026-06-01T12:00:00Z'))?.at,
    ).toEqual(new Date('2026-06-02T00:00:00Z'));
  }
  expect(create).toHaveBeenCalledTimes(1);
});

test('C34: what comes rarely is found without looking at every day before it', () => {
  const looks = jest.spyOn(Date.prototype, 'getUTCMonth');
  const leap = CronTimes.parse('0 0 29 2 *');
  expect(new Date(leap.next(Date.UTC(2096, 1, 29)))).toEqual(new Date(Date.UTC(2104, 1, 29)));
  expect(leap.count(Date.UTC(2024, 0, 1), Date.UTC(2104, 0, 1))).toBe(19);
  // A look at each day of 88 years would be 32,000 of them.
  expect(looks.mock.calls.length).toBeLessThan(10_000);
});
