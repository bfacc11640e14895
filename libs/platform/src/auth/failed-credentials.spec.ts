import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { FailedCredentials } from './failed-credentials.js';

const times = (count: number, failures: FailedCredentials, address = 'a') =>
  Array.from({ length: count }, () => failures.note(address));

describe('wrong credentials from one address', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test('are 100 a minute, and then say how long to wait', () => {
    const failures = new FailedCredentials();
    expect(times(100, failures).every((wait) => wait === undefined)).toBe(true);
    jest.advanceTimersByTime(20_500);
    expect(times(2, failures)).toEqual([40, 40]);
    expect(failures.note('b')).toBeUndefined();
    jest.advanceTimersByTime(39_500);
    expect(failures.note('a')).toBeUndefined();
  });

  test('are remembered of a bounded number of addresses', () => {
    const failures = new FailedCredentials();
    times(100, failures);
    for (let other = 0; other < 9_999; other++) failures.note(`other ${other}`);
    expect(failures.note('a')).toBe(60);
    failures.note('one more');
    expect(failures.note('a')).toBeUndefined();
  });
});
