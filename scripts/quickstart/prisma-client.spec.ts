import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { repositoryRoot } from '../local/paths.js';

const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8');

test('the schema is formatted as the generator formats it, or each start would take the client for an old one', () => {
  const client = read('libs/platform/src/prisma/generated/internal/class.ts');
  expect(client).toContain(JSON.stringify(read('prisma/schema.prisma')));
});
