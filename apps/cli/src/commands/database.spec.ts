import { describe, expect, test } from '@jest/globals';
import { PassThrough } from 'node:stream';
import { run } from '../run.js';

/** Nobody listens on port 1. */
const DATABASE_URL = 'postgresql://longhaul:hush@127.0.0.1:1/longhaul';
const KEYS = ['keys', 'create', '--owner', 'ann', '--scopes'];

async function longhaul(words: string[], env: Record<string, string> = { DATABASE_URL }) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const exitCode = await run(words, { stdout, stderr, env, devFile: '/nowhere/dev.json' });
  return { exitCode, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}

describe('keys create', () => {
  test.each([
    [[...KEYS, 'jobs:read,jobs:fly'], /jobs:fly.*jobs:read, jobs:write, schedules:write, admin/],
    [[...KEYS, ''], /jobs:read, jobs:write/],
    [['keys', 'create', '--scopes', 'admin'], /--owner/],
    [['keys', 'create', '--owner', ' ', '--scopes', 'admin'], /1 to 200 characters/],
    [['keys', 'create', '--owner', 'a\nb', '--scopes', 'admin'], /1 to 200 characters/],
  ])('refuses %j with one sentence', async (words, sentence) => {
    const { exitCode, out, err } = await longhaul(words);
    expect([exitCode, out]).toEqual([2, '']);
    expect(err).toMatch(sentence);
  });
});

describe.each([[['migrate']], [[...KEYS, 'jobs:read']]])('%j', (words) => {
  test('says when there is no DATABASE_URL', async () => {
    const { exitCode, out, err } = await longhaul(words, {});
    expect([exitCode, out]).toEqual([2, '']);
    expect(err).toMatch(/^DATABASE_URL is not set[^\n]*\n$/);
  });

  test('says in one sentence without the password that the database cannot be reached', async () => {
    const { exitCode, out, err } = await longhaul(words);
    expect([exitCode, out]).toEqual([1, '']);
    expect(err).toMatch(/^The database [^\n]*cannot be reached[^\n]*\n$/);
    expect(err).not.toContain('hush');
  });
});
