import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { onDatabase } from '../../../scripts/db/database.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { testRedis } from '../../support/redis.js';

let databases: TestDatabase[];

beforeAll(async () => {
  databases = await Promise.all([createTestDatabase(), createTestDatabase(), createTestDatabase()]);
});
afterAll(() => Promise.all(databases.map((database) => database.drop())));

test('databases made at the same time are migrated and apart', async () => {
  expect(new Set(databases.map(({ url }) => url)).size).toBe(3);
  for (const { url } of databases) {
    const { rows } = await onDatabase(url, (client) =>
      client.query('SELECT count(*)::int AS jobs FROM jobs'),
    );
    expect(rows).toEqual([{ jobs: 0 }]);
  }
});

test('each user of the shared Redis has a prefix of its own', () => {
  expect(testRedis().url).toBe(testRedis().url);
  expect(testRedis().prefix).not.toBe(testRedis().prefix);
});
