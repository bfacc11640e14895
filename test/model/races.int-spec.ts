import { expect, test } from '@jest/globals';
import { RACES } from './race-list.js';
import { runRaces } from './race.js';

test('two calls at once come out as one after the other', async () => {
  expect(await runRaces(RACES, 3)).toEqual([]);
}, 120_000);
