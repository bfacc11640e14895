import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { repositoryRoot } from '../../../scripts/local/paths.js';
import { STATEMENTS } from './statements.js';

it.each(Object.entries(STATEMENTS))(
  'knows the statement "%s" of the engine, and no other',
  (_name, words) => {
    const store = join(repositoryRoot, 'libs/engine/src/store');
    const files = readdirSync(store).map((file) => readFileSync(join(store, file), 'utf8'));
    const places = files.flatMap((text) => text.match(new RegExp(words, 'g')) ?? []);
    expect(places).toHaveLength(1);
  },
);
