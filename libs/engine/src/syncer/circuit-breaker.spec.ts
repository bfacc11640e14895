import { beforeEach, describe, expect, test } from '@jest/globals';
import { CircuitBreaker } from './circuit-breaker.js';

let now: number;
let breaker: CircuitBreaker;
beforeEach(() => {
  now = 0;
  breaker = new CircuitBreaker(() => now);
});
const fail = (times: number) => {
  for (let i = 0; i < times; i++) breaker.failed();
};

describe('a circuit breaker', () => {
  test('lets calls through until five in a row have failed', () => {
    fail(4);
    expect([breaker.state, breaker.allow()]).toEqual(['closed', true]);
    breaker.failed();
    expect([breaker.state, breaker.allow()]).toEqual(['open', false]);
  });

  test('counts failures in a row only', () => {
    fail(4);
    breaker.succeeded();
    fail(4);
    expect(breaker.state).toBe('closed');
  });

  test('lets one call at a time try after its pause, which doubles up to half a minute', () => {
    fail(5);
    for (const pause of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
      now += pause - 1;
      expect(breaker.allow()).toBe(false);
      now += 1;
      expect([breaker.state, breaker.allow(), breaker.allow()]).toEqual(['half-open', true, false]);
      breaker.failed();
    }
  });

  test('says how many calls make sense: any, none while it is open, and one that tries', () => {
    expect(breaker.room).toBe('any');
    fail(5);
    expect(breaker.room).toBe('none');
    now = 1000;
    expect(breaker.room).toBe('one');
    breaker.allow();
    expect(breaker.room).toBe('none');
    breaker.released();
    expect(breaker.room).toBe('one');
  });

  test('closes when the call that tries succeeds', () => {
    fail(5);
    now = 1000;
    breaker.allow();
    breaker.succeeded();
    expect([breaker.state, breaker.allow(), breaker.allow()]).toEqual(['closed', true, true]);
  });
});
