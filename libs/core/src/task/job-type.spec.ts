import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { DEFAULT_BACKOFF } from './backoff.js';
import { JobType, jobTypePolicy, type JobTypeOptions } from './job-type.js';

const PAYLOAD = z.object({ path: z.string() });

function policyOf(options: Partial<JobTypeOptions>) {
  @JobType({ name: 'files.ingest', payload: PAYLOAD, ...options })
  class Handler {
    async run() {}
  }
  return jobTypePolicy(Handler);
}

describe('a job type', () => {
  test('has the documented defaults', () => {
    expect(policyOf({})).toEqual({
      name: 'files.ingest',
      payload: PAYLOAD,
      attempts: 3,
      backoff: DEFAULT_BACKOFF,
      timeoutMs: undefined,
      maxRuntimeMs: undefined,
      cancelGraceMs: 10_000,
      crons: [],
      resumable: false,
      tag: undefined,
      exclusive: undefined,
      concurrency: undefined,
      rateLimit: undefined,
      version: 1,
      searchable: [],
      sandbox: false,
    });
  });

  test('keeps what it was given, with durations in milliseconds', () => {
    const policy = policyOf({
      attempts: 5,
      backoff: { kind: 'fixed', base: '2s', cap: '1m' },
      timeout: '10m',
      maxRuntime: '2h',
      cancelGrace: '3s',
      resumable: true,
      tag: 'disk',
      exclusive: true,
      concurrency: 7,
      rateLimit: { max: 20, per: '1m' },
      version: 1,
      searchable: ['project'],
      sandbox: true,
    });
    expect(policy).toEqual({
      name: 'files.ingest',
      payload: PAYLOAD,
      attempts: 5,
      backoff: { kind: 'fixed', baseMs: 2_000, capMs: 60_000 },
      timeoutMs: 600_000,
      maxRuntimeMs: 7_200_000,
      cancelGraceMs: 3000,
      crons: [],
      resumable: true,
      tag: 'disk',
      exclusive: 'refuse',
      concurrency: 7,
      rateLimit: { max: 20, perMs: 60_000 },
      version: 1,
      searchable: ['project'],
      sandbox: true,
    });
  });

  test.each([
    [{ concurrency: 0 }, 'concurrency is a whole number from 1 to 1000000'],
    [{ concurrency: 1.5 }, 'concurrency is a whole number from 1 to 1000000'],
    [{ rateLimit: { max: 0, per: '1s' } }, 'rateLimit.max is a whole number from 1 to 1000000'],
    [{ rateLimit: { max: 1, per: '25d' } }, 'rateLimit.per is a duration from 1ms to 24d'],
  ] as const)('refuses the limits %j', (options, message) => {
    expect(() => policyOf(options)).toThrow(message);
  });

  test.each([
    [true, 'refuse'],
    ['refuse', 'refuse'],
    ['queue', 'queue'],
    [false, undefined],
  ] as const)('takes exclusive: %s for %s', (exclusive, meant) => {
    expect(policyOf({ exclusive })?.exclusive).toBe(meant);
  });

  test('validates payloads with the very schema that it was given', () => {
    expect(policyOf({})?.payload).toBe(PAYLOAD);
  });

  test('is known by its class alone: neither another class nor a subclass has its policy', () => {
    @JobType({ name: 'a', payload: PAYLOAD })
    class First {
      async run() {}
    }
    class Derived extends First {}
    class Plain {}
    expect(jobTypePolicy(First)?.name).toBe('a');
    expect(jobTypePolicy(Derived)).toBeUndefined();
    expect(jobTypePolicy(Plain)).toBeUndefined();
  });

  test.each(['a', 'files.ingest', 'a-b.c-d.e1', 'x'.repeat(100)])('may be called %s', (name) => {
    expect(policyOf({ name })?.name).toBe(name);
  });

  test.each(['', 'Files', '1a', '.a', 'a.', 'a..b', 'a b', 'a_b', 'a.-b', 'a\n', 'é', 'x'.repeat(101)])(
    'may not be called %j',
    (name) => {
      expect(() => policyOf({ name })).toThrow(TypeError);
    },
  );

  test.each([1, 100])('may have %i attempts', (attempts) => {
    expect(policyOf({ attempts })?.attempts).toBe(attempts);
  });

  test.each([0, -1, 1.5, 101, Number.NaN, Number.POSITIVE_INFINITY])(
    'may not have %d attempts',
    (attempts) => {
      expect(() => policyOf({ attempts })).toThrow('attempts is a whole number from 1 to 100');
    },
  );

  test('has the version 1 unless it says another one', () => {
    expect(policyOf({})?.version).toBe(1);
    expect(policyOf({ version: 7 })?.version).toBe(7);
  });

  test.each([0, -1, 1.5, 1_000_001, Number.NaN])('may not have the version %d', (version) => {
    expect(() => policyOf({ version })).toThrow('version is a whole number from 1 to 1000000');
  });

  test.each(['disk', 'gpu-2', 'x'.repeat(40)])('may ask for the tag %s', (tag) => {
    expect(policyOf({ tag })?.tag).toBe(tag);
  });

  test.each(['', 'default', 'Disk', '2gpu', 'a,b', 'a b', 'a.b', 'x'.repeat(41)])(
    'may not ask for the tag %j',
    (tag) => {
      expect(() => policyOf({ tag })).toThrow('a tag is a lower-case word, and not "default"');
    },
  );

  test('fails at load when a duration cannot be read', () => {
    expect(() => policyOf({ timeout: '10' as '10m' })).toThrow(RangeError);
    expect(() => policyOf({ backoff: { kind: 'fixed', base: '1s', cap: '1 m' as '1m' } })).toThrow(
      RangeError,
    );
  });

  test('names the type in what it refuses', () => {
    expect(() => policyOf({ name: 'slow.one', attempts: 0 })).toThrow('"slow.one"');
  });
});

test.each([
  [{ cron: '0 0 30 2 *' }, /Job type "test.crons", schedule "nightly": No date/],
  [{ cron: '0 0 * * *', timezone: 'Mars/Base' }, /there is no time zone "Mars\/Base"/],
])('feature 26: a declared schedule that can never be is refused at load: %j', (timing, message) => {
  const options = { name: 'test.crons', payload: z.any(), crons: [{ name: 'nightly', ...timing }] };
  expect(() => JobType(options)).toThrow(message);
});
