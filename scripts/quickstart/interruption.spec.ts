import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isAlive } from '../local/processes.js';
import { poll } from '../local/wait.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longhaul-interruption-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A process that watches for Ctrl-C, has a child, and is caught in a look at a file that never ends. */
function stuckProcess(deadline: number): ChildProcess {
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const program = `
    const { spawn } = await import('node:child_process');
    const { readFile } = await import('node:fs/promises');
    const { remember } = await import('./scripts/local/processes.ts');
    const { watchForInterruption } = await import('./scripts/quickstart/interruption.ts');
    watchForInterruption((sentence) => console.log(sentence), ${deadline});
    console.log(remember(spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })).pid);
    await readFile(${JSON.stringify(fifo)});`;
  const words = ['--import', '@swc-node/register/esm-register', '--input-type=module', '-e', program];
  return spawn(process.execPath, words, {
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test('an end that does not come is not waited for after the deadline', async () => {
  const child = stuckProcess(300);
  let said = '';
  child.stdout?.on('data', (text) => (said += String(text)));
  await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  const sleeper = Number.parseInt(said, 10);
  expect(await isAlive(sleeper)).toBe(true);
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([null, 'SIGINT']);
  expect(said.trim().split('\n').slice(1)).toEqual(['', 'Stopping.', 'Something does not end: leaving it.']);
  expect(await poll(async () => !(await isAlive(sleeper)), { timeout: 20_000 })).toBe(true);
});
