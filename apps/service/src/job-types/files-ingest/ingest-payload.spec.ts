import { describe, expect, test } from '@jest/globals';
import { IngestPayload, isBelow } from './ingest-payload.js';

const least = { source: '/data/in/model', target: '/data/out/model' };
const problemsOf = (payload: unknown) =>
  IngestPayload.safeParse(payload).error?.issues.map(({ path }) => path.join('.')) ?? [];

describe('the payload of files.ingest', () => {
  test('needs a source and a target', () => {
    expect(IngestPayload.parse(least)).toEqual({ ...least, batchSize: 100, metadata: {} });
    expect(problemsOf({})).toEqual(['source', 'target']);
  });

  test('takes what it is meant to take', () => {
    const full = {
      ...least,
      modelId: 'city-1',
      batchSize: 1000,
      metadata: { name: 'A', nested: [{ a: null }] },
    };
    expect(IngestPayload.parse(full)).toEqual(full);
    expect(problemsOf({ ...least, metadata: { tilesetFilename: 'lod/tileset.json' } })).toEqual([]);
  });

  test.each([
    ['source', 'data/in'],
    ['source', ''],
    ['source', '/data/\0'],
    ['source', 1],
    ['target', './out'],
    ['target', `/${'a'.repeat(4096)}`],
    ['modelId', ''],
    ['modelId', '.'],
    ['modelId', '..'],
    ['modelId', 'a/b'],
    ['modelId', 'a'.repeat(201)],
    ['modelId', '\ud800'],
    ['batchSize', 0],
    ['batchSize', 1001],
    ['batchSize', 1.5],
    ['metadata', { id: 'x' }],
    ['metadata', { links: [] }],
    ['metadata', { text: 'é'.repeat(128 * 1024) }],
    ['metadata', []],
  ])('refuses the %s %j', (key, value) => {
    expect(problemsOf({ ...least, [key]: value })).toEqual([key]);
  });

  test.each(['../../other/tileset.json', '/tileset.json', '', 7])(
    'refuses the tileset %j',
    (tilesetFilename) => {
      expect(problemsOf({ ...least, metadata: { tilesetFilename } })).toEqual(['metadata.tilesetFilename']);
    },
  );

  test('refuses other keys', () => {
    expect(IngestPayload.safeParse({ ...least, other: 1 }).success).toBe(false);
  });
});

test('a path is below when no part of it leads elsewhere', () => {
  for (const path of ['a', 'a/b', '...', 'a..b/c']) expect(isBelow(path)).toBe(true);
  for (const path of ['', '.', '..', '/a', 'a/', 'a//b', 'a/../b', '../a', 'a/./b']) {
    expect(isBelow(path)).toBe(false);
  }
});
