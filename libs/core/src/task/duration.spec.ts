import { describe, expect, test } from '@jest/globals';
import { durationMs, durationText } from './duration.js';

describe('a duration', () => {
  test.each([
    ['1ms', 1],
    ['1s', 1_000],
    ['1m', 60_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['0s', 0],
    ['250ms', 250],
    ['10m', 600_000],
    ['030s', 30_000],
    ['999999999ms', 999_999_999],
  ])('reads %s', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });

  test('is exact up to the longest that can be written', () => {
    expect(durationMs('999999999d')).toBe(86_399_999_913_600_000);
  });

  test.each([
    '',
    '10',
    'm',
    '1.5s',
    '-1s',
    '+1s',
    '1e3s',
    '10 m',
    ' 10m',
    '10m ',
    '10m\n',
    '10M',
    '10min',
    '1w',
    '1h30m',
    '1000000000s',
    '٣s',
    'Infinityms',
    '1constructor',
  ])('refuses %j', (text) => {
    expect(() => durationMs(text)).toThrow(RangeError);
  });

  test('says what it takes and does not repeat what it got', () => {
    expect(() => durationMs('secret')).toThrow(
      new RangeError('A duration is a whole number with a unit: ms, s, m, h or d.'),
    );
  });
});

test.each(['1ms', '1500ms', '90s', '10m', '5h', '7d'] as const)(
  'the duration %s is told as it was given',
  (text) => {
    expect(durationText(durationMs(text))).toBe(text);
  },
);
