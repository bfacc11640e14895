import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { JOB_TRANSITIONS, TASK_TRANSITIONS } from '@app/core';
import { repositoryRoot } from '../local/paths.js';
import { COMMAND, jobDiagram, stateMachinePage, taskDiagram } from './state-machine.js';

const stored = (file: string) => readFile(join(repositoryRoot, file), 'utf8');

/** Every move of a table, as an arrow of a diagram without its label. */
function arrowsOf(transitions: Record<string, Partial<Record<string, string>>>): string[] {
  const moves = Object.values(transitions).flatMap((from) => Object.entries(from));
  return [...new Set(moves.map(([from, to]) => `${from} --> ${to}`))].toSorted();
}

function arrowsIn(diagram: string): string[] {
  const found = diagram.matchAll(/^ {2}(\w+ --> \w+): /gm);
  return [...found].map(([, arrow]) => String(arrow)).toSorted();
}

describe('the page of the states', () => {
  test('is what the tables say', async () => {
    const page = await stored('docs/state-machine.md');
    const advice = page === stateMachinePage() ? '' : `docs/state-machine.md is stale: run ${COMMAND}`;
    expect(advice).toBe('');
  });

  test('is what the command writes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'longhaul-docs-'));
    try {
      const file = join(folder, 'page.md');
      const main = fileURLToPath(new URL('./main.ts', import.meta.url));
      // Jest's own flags must not reach the child.
      const { NODE_OPTIONS: _options, ...env } = process.env;
      const args = ['--import', '@swc-node/register/esm-register', main, file];
      await promisify(execFile)(process.execPath, args, { cwd: repositoryRoot, env });
      expect(await readFile(file, 'utf8')).toBe(stateMachinePage());
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('draws every move and no other', () => {
    expect(arrowsIn(jobDiagram())).toEqual(arrowsOf(JOB_TRANSITIONS));
    expect(arrowsIn(taskDiagram())).toEqual(arrowsOf(TASK_TRANSITIONS));
  });

  test('says every event of a move', () => {
    expect(jobDiagram()).toContain('  active --> canceled: cancel\n');
    expect(stateMachinePage()).toContain('`scheduled`, `queued`, `active` → `canceled`');
  });
});

test('the README shows the diagram of a job as it is', async () => {
  expect(await stored('README.md')).toContain(jobDiagram());
});
