import { expect, test } from '@jest/globals';
import { JOB_STATUSES } from '@app/core';
import { isBounded, type JobFilter } from './listed-jobs.js';

const OPEN = JOB_STATUSES.filter((status) => !['completed', 'failed', 'canceled'].includes(status));

test.each<[JobFilter, boolean]>([
  [{}, true],
  [{ from: new Date(0), to: new Date(1), types: ['a', 'b'] }, true],
  [{ statuses: ['failed', 'canceled'] }, true],
  [{ statuses: OPEN }, true],
  [{ statuses: [...OPEN, 'failed'] }, true],
  [{ tags: ['a'] }, true],
  [{ labels: { a: ['x', 'y'] } }, true],
  [{ labels: { a: ['x'], b: ['y'] } }, false],
  [{ types: ['a'], statuses: ['failed'] }, false],
  [{ types: ['a'], tags: ['b'] }, false],
  [{ labels: { a: ['x'] }, tags: ['b'] }, false],
  [{ statuses: ['queued'] }, false],
  [{ statuses: ['failed', 'active'] }, false],
])('feature 3: whether one index has the jobs of %j in their order: %p', (filter, bounded) => {
  expect(isBounded(filter)).toBe(bounded);
});
