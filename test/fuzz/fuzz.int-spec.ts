import { expect, test } from '@jest/globals';
import { fuzzService } from './fuzz-world.js';

test('whatever is asked: no 5xx, refusals are problems and write nothing, answers are as documented', async () => {
  const report = await fuzzService(1, 1000);
  expect(report.faults).toEqual([]);
  expect(Object.keys(report.statuses).map(Number)).toEqual(
    expect.arrayContaining([200, 201, 400, 401, 403, 404, 409, 413, 415]),
  );
}, 240_000);
