import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { repositoryRoot } from '../../../scripts/local/paths.js';

/** How many inputs there are on the list of what a service on a network gets sooner or later. */
const INPUTS = 98;

/** The files that have titles of tests: specs, and the tables that some of them take their titles from. */
const sources = ['apps', 'libs', 'scripts', 'test'].flatMap((folder) =>
  readdirSync(join(repositoryRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /(spec|wrong-tokens)\.ts$/.test(file) && !file.endsWith('inputs-covered.spec.ts'))
    .map((file) => readFileSync(join(repositoryRoot, folder, file), 'utf8')),
);

/** The numbers that a text names: `input 7`, `inputs 5 and 6`, `inputs 24-26`, `input 30, 31`. */
function numbersIn(text: string): number[] {
  return [...text.matchAll(/\binputs? (\d+(?:(?:-|, | and )\d+)*)(?![\d-])/g)].flatMap(([, list = '']) =>
    list.split(/, | and /).flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, at) => first + at);
    }),
  );
}

/** The texts of a source that stand in quotes on one line, as titles do; comments are none. */
const texts = (source: string) =>
  source
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\*|\/\*)/.test(line))
    .flatMap((line) => line.match(/'(?:[^'\\]|\\.)*'|`[^`]*`/g) ?? []);

describe('the inputs', () => {
  const named = new Set(sources.flatMap((source) => texts(source).flatMap(numbersIn)));

  test('are each named by the title of a test', () => {
    const all = Array.from({ length: INPUTS }, (_, at) => at + 1);
    expect(all.filter((input) => !named.has(input))).toEqual([]);
    expect([...named].filter((input) => !all.includes(input))).toEqual([]);
  });

  test('are read from titles in all the ways in which they are written there', () => {
    expect(numbersIn('input 7: x (inputs 5 and 6), inputs 24-26; input 30, 31')).toEqual([
      7, 5, 6, 24, 25, 26, 30, 31,
    ]);
    expect(texts("// input 1\n/* input 2 */ \n  test('input 3', x)")).toEqual(["'input 3'"]);
  });
});
