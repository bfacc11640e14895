import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { PROBLEMS } from '../../apps/service/src/api/problems/problem.js';
import { repositoryRoot } from '../local/paths.js';

describe('docs/problems.md', () => {
  const page = readFileSync(join(repositoryRoot, 'docs/problems.md'), 'utf8');

  test('has a heading for each problem of the closed list, and says its status', () => {
    const sections = [...page.matchAll(/^## (.+)\n\n(\d+)\. /gm)].map(([, slug, status]) => [
      slug,
      Number(status),
    ]);
    expect(Object.fromEntries(sections)).toEqual(
      Object.fromEntries(Object.entries(PROBLEMS).map(([slug, { status }]) => [slug, status])),
    );
    expect(sections).toHaveLength(Object.keys(PROBLEMS).length);
  });
});
