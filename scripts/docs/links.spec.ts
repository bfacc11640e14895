import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ENVIRONMENT } from '@app/platform/config/config.js';
import { z } from 'zod';
import { repositoryRoot } from '../local/paths.js';

const PAGES = [
  ...markdownIn('.', false),
  ...['docs', 'bench', 'test', 'examples', 'deploy', 'apps', 'libs', 'scripts'].flatMap((folder) =>
    markdownIn(folder, true),
  ),
];

function markdownIn(folder: string, recursive: boolean): string[] {
  const path = join(repositoryRoot, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && !file.includes('node_modules'))
    .map((file) => join(folder, file))
    .toSorted();
}

function read(page: string): string {
  return readFileSync(join(repositoryRoot, page), 'utf8');
}

/** A page without its blocks and spans of code, in which nothing is a link. */
function prose(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ''));
}

/** The targets of a page's links that stay in the repository. */
function linksOf(text: string): string[] {
  return [...prose(text).matchAll(/\]\(([^()\s]+)\)/g)]
    .map(([, target]) => String(target))
    .filter((target) => !/^[a-z][a-z0-9+.-]*:/i.test(target));
}

/** The anchors that GitHub makes of a page's headings. */
function anchorsOf(text: string): string[] {
  const headings = text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#{1,6} (.+)$/gm);
  return [...headings].map(([, heading]) =>
    String(heading)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The links of a page that lead nowhere. */
function brokenLinks(page: string, text: string): string[] {
  return linksOf(text).filter((link) => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), decodeURIComponent(path));
    if (relative('.', target).startsWith('..') || !existsSync(join(repositoryRoot, target))) return true;
    return anchor !== undefined && !anchorsOf(path === '' ? text : read(target)).includes(anchor);
  });
}

describe('the links', () => {
  test('are looked for in every page', () => {
    expect(PAGES).toEqual(
      expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs/operations.md']),
    );
    expect(PAGES.flatMap((page) => linksOf(read(page))).length).toBeGreaterThan(20);
  });

  test.each(PAGES)('of %s lead to files and headings that are there', (page) => {
    expect(brokenLinks(page, read(page))).toEqual([]);
  });

  test.each([
    ['[gone](docs/gone.md)', ['docs/gone.md']],
    ['[gone](#gone)', ['#gone']],
    ['[outside](../package.json)', ['../package.json']],
    ['## Here it is\n\n[here](#here-it-is) [elsewhere](https://example.org/gone) [file](package.json)', []],
    ['`[code](gone.md)`\n\n```md\n[code](gone.md)\n```', []],
  ])('are judged in %j', (text, broken) => {
    expect(brokenLinks('README.md', text)).toEqual(broken);
  });
});

describe('the commands', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const named = PAGES.flatMap((page) =>
    [...read(page).matchAll(/\bnpm run (?:(?:--silent|-s) )?([a-z][\w:-]*)/g)].map(
      ([, name]) => [page, String(name)] as const,
    ),
  );

  test('are looked for', () => {
    expect(named.map(([, name]) => name)).toEqual(
      expect.arrayContaining(['quickstart', 'check', 'cli', 'db:migrate']),
    );
  });

  test.each([...new Map(named.map((pair) => [pair.join(' '), pair])).values()])(
    '%s names npm run %s, which is there',
    (_page, name) => {
      expect(Object.keys(scripts)).toContain(name);
    },
  );
});

describe('the settings', () => {
  // | `NAME` | default | what it is | what it takes |
  const rows = read('docs/operations.md')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 6 && /^`[A-Z_]+`$/.test(cells[1] ?? ''))
    .map((cells) => ({
      name: cells[1]?.slice(1, -1) ?? '',
      fallback: cells[2] ?? '',
      takes: cells[4] ?? '',
    }));
  const shape: Record<string, z.ZodType> = ENVIRONMENT.shape;

  test('are all in the table of docs/operations.md, in their order', () => {
    expect(rows.map((row) => row.name)).toEqual(Object.keys(shape));
  });

  test.each(rows)('$name takes what the table says', ({ name, takes }) => {
    const schema = shape[name];
    const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
    const meta = schema?.meta() ?? (inner as z.ZodType).meta();
    expect(takes.replaceAll('`', '')).toBe(meta?.['takes']);
  });

  test.each(rows)('$name has the default of the table', ({ name, fallback }) => {
    const [, text] = /^`(.*)`$/.exec(fallback) ?? [];
    if (text === undefined) {
      // Said in words: needed, left out, or a matter of the machine.
      const missing = shape[name]?.safeParse(undefined);
      const words =
        missing?.success === false ? 'needed' : expect.stringMatching(/^(none|every tag|\d|the .+)$/);
      expect(fallback).toEqual(words);
    } else {
      expect(shape[name]?.parse(text)).toEqual(shape[name]?.parse(undefined));
    }
  });
});
